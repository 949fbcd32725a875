// Following links: from the link's own bytes to the message, verified on both ends.
#include <array>

#include <hufu/broker/log_record.hpp>
#include <hufu/core/mutant.hpp>

#include "log/crc32c.hpp"
#include "log/impl.hpp"

namespace hufu::broker {

std::optional<LinkHead> Log::Impl::read_link_head(SealedSegment* segment, const IndexEntry& entry) {
    std::array<std::byte, sizeof(LinkHead)> bytes{};
    auto file = data_file(segment);
    if (!file || *file == nullptr) return std::nullopt;
    const auto count = (*file)->read_at(entry.position, bytes);
    if (!count || *count != bytes.size()) return std::nullopt;
    const auto head = decode_link_head(bytes);
    if (!head || head->target_size != entry.bytes() || head->target_crc != entry.crc) return std::nullopt;
    return head;
}

std::optional<Mark> Log::Impl::decode_mark(QueueHandle queue, std::vector<std::byte> record) {
    const auto head = decode_mark_head(record);
    if (!head) return std::nullopt;
    record.erase(record.begin(), record.end() - static_cast<std::ptrdiff_t>(head->payload_bytes));
    return Mark{queue, head->queue_offset, head->stored_at_ms, std::move(record)};
}

Result<Mark> Log::Impl::read_mark_entry(QueueHandle queue, SealedSegment* segment, const IndexEntry& entry) {
    std::vector<std::byte> bytes(entry.bytes());
    auto file = data_file(segment);
    if (!file) return file.error();
    const auto count = (*file)->read_at(entry.position, bytes);
    if (!count) return count.error();
    if (*count == bytes.size() && crc32c(0, bytes) == entry.crc)
        if (auto mark = decode_mark(queue, std::move(bytes))) return std::move(*mark);
    const auto place = base_of_segment(segment) + entry.position;
    report_damage(place, entry.bytes(), "a mark does not match its checksum");
    return corrupt_error("the mark at offset " + std::to_string(place) + " of the log is damaged");
}

std::optional<std::uint64_t> Log::Impl::small_stored_at(SealedSegment* segment, const IndexEntry& entry) {
    if (entry.is_link()) {
        const auto head = read_link_head(segment, entry);
        return head ? std::optional{head->stored_at_ms} : std::nullopt;
    }
    const auto mark = read_mark_entry({}, segment, entry);
    return mark ? std::optional{mark->stored_at_ms} : std::nullopt;
}

Log::Impl::Followed Log::Impl::follow(const LinkHead& link, std::vector<std::byte>& out) {
    if (link.target < start) return Followed::expired;
    const auto lost = [&](std::string text) {
        report_damage(link.target, link.target_size, std::move(text));
        return Followed::damaged;
    };
    const auto holder = segment_of(link.target);
    if (!holder) return lost("a link leads to a message that is missing; it is not served");
    const auto begin = out.size();
    out.resize(begin + link.target_size);
    const auto record = std::span{out}.subspan(begin);
    auto file = data_file(*holder);
    const auto got =
        file ? (*file)->read_at(link.target - base_of_segment(*holder), record) : Result<std::size_t>{file.error()};
    const bool intact = crc32c(0, record) == link.target_crc || mutant_active("link_target_unverified");
    if (!got || *got != record.size() || !intact ||
        log_record::load_u64(record.data() + log_record::log_offset_at) != link.target) {
        out.resize(begin);
        return lost("a stored message does not match its checksum; it is not served");
    }
    patch_linked(record, link);
    return Followed::served;
}

Log::Impl::Followed Log::Impl::follow(SealedSegment* segment, const IndexEntry& entry, std::vector<std::byte>& out) {
    if (const auto link = read_link_head(segment, entry)) return follow(*link, out);
    report_damage(base_of_segment(segment) + entry.position, sizeof(LinkHead),
                  "a link does not match its checksum; its message is not served");
    return Followed::damaged;
}

void Log::Impl::read_link(SealedSegment* segment, const IndexEntry& entry, const ReadFilter& filter,
                          std::vector<std::byte>& out, ReadResult& result) {
    const auto begin = out.size();
    const auto followed = follow(segment, entry, out);
    if (followed == Followed::damaged) ++result.damaged;
    if (followed != Followed::served) return;
    if (filter.by_record && !filter.by_record(std::span{out}.subspan(begin)))
        out.resize(begin);
    else
        ++result.records;
}

}  // namespace hufu::broker
