// Takes entries out of the journal.
#include <charconv>

#include "journal/journal_impl.hpp"

namespace hufu::degradation {
namespace {

/// One reader at a time has the journal; the others wait.
class JournalReader final : public BufferReader {
public:
    explicit JournalReader(Journal::Impl& journal) : journal_{journal} {}
    ~JournalReader() override { static_cast<void>(release()); }

    Result<std::vector<Entry>> read(std::size_t max, std::chrono::milliseconds timeout) override {
        std::vector<Entry> entries;
        if (!own(timeout)) return entries;
        if (ahead_.empty()) {
            if (auto filled = fill(max, timeout); !filled) return filled.error();
        }
        for (; !ahead_.empty() && entries.size() < max; ahead_.pop_front()) {
            auto entry = entry_of(ahead_.front());
            if (!entry) return entry.error();
            entry->deliveries = ahead_.front().reference.sequence <= read_before_ ? 1 : 0;
            last_ = ahead_.front().reference.sequence;
            entries.push_back(std::move(*entry));
        }
        const std::lock_guard lock{journal_.mutex};
        journal_.read_until = std::max(journal_.read_until, last_);
        return entries;
    }

    Result<std::size_t> trim(std::span<const EntryId> entries) override {
        if (!is_owner()) return std::size_t{0};
        auto references = references_of(entries);
        const std::size_t count = references.size();
        if (auto noted = journal_.note({journal::FrameKind::trim, std::move(references), {}}); !noted) return noted.error();
        return count;
    }

    Result<void> park(std::span<const EntryId> entries, std::string_view reason) override {
        if (!is_owner()) return {};
        return journal_.note({journal::FrameKind::park, references_of(entries), std::string{reason}});
    }

    Result<void> release() override {
        const std::lock_guard lock{journal_.mutex};
        if (journal_.reader == this) journal_.reader = nullptr;
        ahead_.clear();
        cursor_ = {};
        journal_.written.notify_all();
        return {};
    }

private:
    bool is_owner() {
        const std::lock_guard lock{journal_.mutex};
        return journal_.reader == this;
    }

    bool own(std::chrono::milliseconds timeout) {
        std::unique_lock lock{journal_.mutex};
        if (journal_.reader == this) return true;
        if (!journal_.written.wait_for(lock, timeout, [&] { return journal_.reader == nullptr; })) return false;
        journal_.reader = this;
        read_before_ = journal_.read_until;
        return true;
    }

    Result<void> fill(std::size_t max, std::chrono::milliseconds timeout) {
        const SteadyTime until = journal_.clock.steady_now() + timeout;
        for (;;) {
            auto page = journal_.store->read(cursor_, max);
            if (!page) return page.error();
            if (!page->empty()) {
                ahead_.assign(std::make_move_iterator(page->begin()), std::make_move_iterator(page->end()));
                return {};
            }
            const auto left = until - journal_.clock.steady_now();
            if (left.count() <= 0) return {};
            std::unique_lock lock{journal_.mutex};
            if (journal_.written.wait_for(lock, left) == std::cv_status::timeout) return {};
        }
    }

    Journal::Impl& journal_;
    journal::Cursor cursor_;
    std::deque<journal::StoredEntry> ahead_;
    std::uint64_t read_before_ = 0;  // what others, or we before a release, had read
    std::uint64_t last_ = 0;
};

}  // namespace

// An entry's position: its sequence, key and size.
EntryId id_of(const journal::Reference& reference) {
    return {
        0, std::to_string(reference.sequence) + ":" + std::to_string(reference.key) + ":" + std::to_string(reference.bytes)};
}

std::vector<journal::Reference> references_of(std::span<const EntryId> entries) {
    std::vector<journal::Reference> references;
    references.reserve(entries.size());
    for (const EntryId& id : entries) {
        journal::Reference reference;
        std::uint64_t* const parts[] = {&reference.sequence, &reference.key, &reference.bytes};
        const char* at = id.position.data();
        const char* const end = at + id.position.size();
        bool good = true;
        for (auto* const part : parts) {
            const auto [behind, problem] = std::from_chars(at, end, *part);
            good = good && problem == std::errc{};
            at = behind == end ? end : behind + 1;
        }
        if (good) references.push_back(reference);
    }
    return references;
}

Result<Entry> entry_of(const journal::StoredEntry& stored) {
    auto message = journal::message_of(stored.payload);
    if (!message) return message.error();
    return Entry{.id = id_of(stored.reference),
                 .message = std::move(*message),
                 .spilled_at = journal::facts_of(stored.payload).spilled_at};
}

std::unique_ptr<BufferReader> make_reader(Journal::Impl& journal) { return std::make_unique<JournalReader>(journal); }

}  // namespace hufu::degradation
