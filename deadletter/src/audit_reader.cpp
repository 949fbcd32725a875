#include <hufu/deadletter/redriver.hpp>

namespace hufu::deadletter {
namespace {

constexpr std::size_t page_max = 512;

}  // namespace

Result<void> AuditReader::read_into(Ledger& ledger) {
    const std::string topic{audit_topic};
    const auto ranges = reader_.ranges(topic);
    if (!ranges) {
        if (ranges.error().code() == ErrorCode::not_found) return {};
        return ranges.error();
    }
    for (const auto& range : *ranges) {
        auto& next = next_[range.queue];
        next = std::max(next, range.first);
        while (next < range.end) {
            const auto page = reader_.read(topic, range.queue, next, page_max);
            if (!page) return page.error();
            for (const auto& read : page->messages) {
                if (const auto record = AuditRecord::parse(read.message.body)) {
                    ledger.apply(*record, read.stored_at);
                } else {
                    ++foreign_;
                }
            }
            if (page->next <= next) break;
            next = page->next;
        }
    }
    return {};
}

Result<void> each_letter(TopicReader& reader, const Ledger& ledger, const std::string& topic,
                         const std::function<bool(DeadLetter letter, const Ledger::Settlement* settlement)>& each) {
    const auto ranges = reader.ranges(topic);
    if (!ranges) return ranges.error();
    for (const auto& range : *ranges) {
        for (auto next = range.first; next < range.end;) {
            auto page = reader.read(topic, range.queue, next, page_max);
            if (!page) return page.error();
            for (auto& read : page->messages) {
                const auto* const settlement = ledger.settlement(topic, read.place, read.message.id);
                if (!each(letter_of(std::move(read)), settlement)) return {};
            }
            if (page->next <= next) break;
            next = page->next;
        }
    }
    return {};
}

}  // namespace hufu::deadletter
