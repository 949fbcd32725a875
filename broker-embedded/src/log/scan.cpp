#include "log/scan.hpp"

#include <algorithm>
#include <cstring>

#include <hufu/core/mutant.hpp>

#include "log/crc32c.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint64_t read_ahead = 1U << 20U;
/// How far behind a bad group a good one is looked for. A torn tail is at most the groups in flight.
constexpr std::uint64_t search_bytes = 24U << 20U;

/// A window of the file that moves forward.
class Window {
public:
    Window(const File& file, const Scan& scan) : file_{file}, scan_{scan} {}

    /// The bytes [at, at + size), fewer when the file or the limit ends before.
    Result<std::span<const std::byte>> bytes(std::uint64_t at, std::uint64_t size) {
        size = std::min(size, scan_.limit > at ? scan_.limit - at : 0);
        if (at < start_ || at + size > start_ + filled_) {
            const auto wanted = std::min(std::max(size, read_ahead), scan_.limit - std::min(at, scan_.limit));
            if (buffer_.size() < wanted) buffer_.resize(wanted);
            const std::span<std::byte> into{buffer_.data(), wanted};
            const auto position = at - scan_.base;
            auto count = scan_.bypass_cache ? file_.read_durable_at(position, into) : file_.read_at(position, into);
            if (!count) return count.error();
            start_ = at;
            filled_ = *count;
        }
        const auto available = std::min<std::uint64_t>(size, start_ + filled_ - at);
        return std::span<const std::byte>{buffer_.data() + (at - start_), available};
    }

private:
    const File& file_;
    const Scan& scan_;
    std::vector<std::byte> buffer_;
    std::uint64_t start_ = 0;
    std::uint64_t filled_ = 0;
};

struct Group {
    GroupHeader header;
    std::uint64_t bytes = 0;  ///< of the log, padding included
    std::span<const std::byte> records;
    std::vector<TableEntry> table;
};

/// Reads the group at `at` if its header and table verify; records are not looked at.
Result<bool> read_group(Window& window, const Scan& scan, std::uint64_t at, Group& group) {
    auto head = window.bytes(at, sizeof(GroupHeader));
    if (!head) return head.error();
    if (head->size() < sizeof(GroupHeader)) return false;
    std::memcpy(&group.header, head->data(), sizeof(GroupHeader));
    const auto& header = group.header;
    if (header.magic != group_magic || header.log_offset != at || !is_readable_version(header.version)) return false;
    const auto room = scan.limit - at;
    if (header.record_bytes % 8 != 0 || header.record_bytes > room || header.records > room / sizeof(TableEntry))
        return false;
    group.bytes = group_bytes(header.record_bytes, header.records);
    if (group.bytes > room) return false;
    auto all = window.bytes(at, group.bytes);
    if (!all) return all.error();
    if (all->size() < group.bytes) return false;
    group.records = all->subspan(sizeof(GroupHeader), header.record_bytes);
    group.table.resize(header.records);
    if (header.records > 0) {
        std::memcpy(group.table.data(), all->data() + sizeof(GroupHeader) + header.record_bytes,
                    header.records * sizeof(TableEntry));
    }
    if (header.crc != group_crc(header, group.table)) return mutant_active("torn_tail_accepted");
    return true;
}

bool records_intact(const Group& group) {
    std::uint64_t position = 0;
    for (const auto& entry : group.table) {
        if (entry.size > group.records.size() - position) return false;
        if (crc32c(0, group.records.subspan(position, entry.size)) != entry.crc) return mutant_active("torn_tail_accepted");
        position += entry.size;
    }
    return true;
}

/// The next group behind `bad` that proves that `bad` was durable once; `scan.limit` when there is none.
Result<std::uint64_t> find_proof(Window& window, const Scan& scan, std::uint64_t bad, std::uint64_t epoch) {
    const auto last = std::min(scan.limit, std::max(bad + search_bytes, scan.trusted_to));
    Group group;
    for (auto at = bad + sector_bytes; at + sizeof(GroupHeader) <= last; at += sector_bytes) {
        auto found = read_group(window, scan, at, group);
        if (!found) return found.error();
        if (*found && group.header.epoch >= epoch && (group.header.durable > bad || at < scan.trusted_to)) return at;
    }
    return scan.limit;
}

void visit_records(const Group& group, const RecordVisitor& visit) {
    std::uint64_t position = 0;
    for (const auto& entry : group.table) {
        if (entry.size > group.records.size() - position) return;
        const auto bytes = group.records.subspan(position, entry.size);
        visit(group.header, {group.header.log_offset + sizeof(GroupHeader) + position, entry, bytes,
                             crc32c(0, bytes) == entry.crc || mutant_active("torn_tail_accepted")});
        position += entry.size;
    }
}

}  // namespace

Result<bool> read_group_table(const File& file, const SegmentSpan& segment, std::uint64_t at, GroupListing& table) {
    auto& header = table.header;
    auto count = file.read_at(at - segment.base, std::as_writable_bytes(std::span{&header, 1}));
    if (!count) return count.error();
    if (*count != sizeof header || header.magic != group_magic || header.log_offset != at ||
        !is_readable_version(header.version))
        return false;
    const auto room = segment.end - at;
    if (header.record_bytes % 8 != 0 || header.record_bytes > room || header.records > room / sizeof(TableEntry) ||
        group_bytes(header.record_bytes, header.records) > room)
        return false;
    table.entries.resize(header.records);
    const auto into = std::as_writable_bytes(std::span{table.entries});
    count = file.read_at(at - segment.base + sizeof header + header.record_bytes, into);
    if (!count) return count.error();
    return *count == into.size() && header.crc == group_crc(header, table.entries);
}

Result<ScanResult> scan_segment(const File& file, const Scan& scan, const RecordVisitor& visit,
                                const DamageVisitor& damaged) {
    Window window{file, scan};
    ScanResult result;
    result.end = scan.from;
    Group group;
    while (result.end < scan.limit) {
        const auto at = result.end;
        auto readable = read_group(window, scan, at, group);
        if (!readable) return readable.error();
        const bool whole = *readable && group.header.epoch >= result.epoch && records_intact(group);
        if (!whole) {
            const bool header_good = *readable && group.header.epoch >= result.epoch;
            const auto size = group.bytes;
            auto next = find_proof(window, scan, at, result.epoch);
            if (!next) return next.error();
            if (*next == scan.limit && at >= scan.trusted_to) {
                auto head = window.bytes(at, sector_bytes);
                if (!head) return head.error();
                result.torn = std::any_of(head->begin(), head->end(), [](std::byte value) { return value != std::byte{0}; });
                return result;
            }
            if (!header_good) {
                const auto stop = *next == scan.limit ? std::max(scan.trusted_to, at + sector_bytes) : *next;
                damaged(at, stop - at);
                result.end = stop;
                continue;
            }
            // The table is sound, so only the records whose own sum is wrong are lost. (The search moved the window.)
            if (auto again = read_group(window, scan, at, group); !again) return again.error();
            damaged(at, size);
        }
        visit_records(group, visit);
        result.epoch = group.header.epoch;
        result.end = at + group.bytes;
        ++result.groups;
    }
    return result;
}

}  // namespace hufu::broker
