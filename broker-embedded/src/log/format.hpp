// What the log's files contain, byte for byte. Numbers of our own are little-endian; records are RocketMQ's (big-endian).
//
// Segment "<20 digits: log offset of its first byte>.log": groups, each beginning on a sector (512 bytes), so that no
// sector that was acknowledged is ever written again. A group:
//   GroupHeader | records, back to back | up to 7 zero bytes | TableEntry per record | zeros to the next sector
// `GroupHeader::crc` covers the rest of the header and the table; each table entry carries the CRC of its record.
// The first group of a segment holds one snapshot record.
//
// Index "<20 digits>.index", derived: IndexHeader | IndexRun per queue | IndexEntry per record, grouped by queue.
// Key index "<20 digits>.keys", derived: see keys.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::broker {

inline constexpr std::uint64_t sector_bytes = 512;
inline constexpr std::uint32_t group_magic = 0x474C4648U;  // "HFLG"
inline constexpr std::uint32_t index_magic = 0x58494648U;  // "HFIX"
/// What is written. Version 1 had no links and no marks, and is read as well.
inline constexpr std::uint32_t format_version = 2;
[[nodiscard]] constexpr bool is_readable_version(std::uint32_t version) noexcept {
    return version >= 1 && version <= format_version;
}

struct GroupHeader {
    std::uint32_t magic = group_magic;
    std::uint32_t crc = 0;  ///< CRC-32C of the header from `version` on, then of the table
    std::uint32_t version = format_version;
    std::uint32_t records = 0;
    std::uint64_t epoch = 0;       ///< one per opening of the log; never goes down along the log
    std::uint64_t log_offset = 0;  ///< of this header
    std::uint64_t durable =
        0;  ///< log offset that was durable when the group was closed: what stands below is not a torn tail
    std::uint64_t record_bytes = 0;  ///< between header and table, a multiple of 8
    std::uint64_t reserved[2] = {};
};
static_assert(sizeof(GroupHeader) == 64);

enum class RecordKind : std::uint32_t {
    message = 1,      ///< a RocketMQ record
    state_put = 2,    ///< two strings: key, value
    state_erase = 3,  ///< one string: key
    queue = 4,        ///< `queue` of the table is the new number; queue id, topic
    snapshot = 5,     ///< see Snapshot
    epoch = 6,        ///< nothing; begins an epoch
    start = 7,        ///< u64: log offset of the first segment that is kept
    link = 8,         ///< see links.hpp: a message that stands further up, once more, in another queue
    mark = 9,         ///< see links.hpp: a few bytes with a place in a queue
};

/// Whether the record takes an offset of its queue.
[[nodiscard]] constexpr bool takes_offset(std::uint32_t kind) noexcept {
    return kind == static_cast<std::uint32_t>(RecordKind::message) || kind == static_cast<std::uint32_t>(RecordKind::link) ||
           kind == static_cast<std::uint32_t>(RecordKind::mark);
}

struct TableEntry {
    std::uint32_t size = 0;
    std::uint32_t crc = 0;    ///< CRC-32C of the record
    std::uint32_t queue = 0;  ///< number of the queue (QueueHandle)
    std::uint32_t kind = 0;
    std::int64_t tags_code = 0;
};
static_assert(sizeof(TableEntry) == 24);

/// Set in `IndexEntry::size`: `position` is the link's own, size and CRC are those of the message it leads to.
inline constexpr std::uint32_t link_bit = 1U << 31U;
/// Set in `IndexEntry::size`: a mark, no message.
inline constexpr std::uint32_t mark_bit = 1U << 30U;
/// No record may be so large.
inline constexpr std::uint32_t record_bytes_limit = mark_bit;

/// Where one record of a queue stands. `size` 0: known to be lost to damage.
struct IndexEntry {
    std::uint32_t position = 0;  ///< from the segment's first byte
    std::uint32_t size = 0;      ///< with `link_bit` or `mark_bit`
    std::uint32_t crc = 0;       ///< of the record
    std::uint32_t check = 0;     ///< in files: CRC-32C of the other fields
    std::int64_t tags_code = 0;

    [[nodiscard]] bool is_message() const noexcept { return size < record_bytes_limit; }
    [[nodiscard]] bool is_link() const noexcept { return (size & link_bit) != 0; }
    [[nodiscard]] bool is_mark() const noexcept { return (size & mark_bit) != 0; }
    [[nodiscard]] std::uint32_t bytes() const noexcept { return size & (record_bytes_limit - 1); }
};
static_assert(sizeof(IndexEntry) == 24);

inline constexpr std::uint64_t no_target = ~0ULL;

struct IndexHeader {
    std::uint32_t magic = index_magic;
    std::uint32_t crc = 0;  ///< CRC-32C of the header from `version` on, then of the runs
    std::uint32_t version = format_version;
    std::uint32_t runs = 0;
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t newest_ms = 0;
    std::uint64_t entries = 0;
    std::uint64_t oldest_target = no_target;  ///< lowest log offset that a link of the segment leads to; not in version 1
};
static_assert(sizeof(IndexHeader) == 56);
inline constexpr std::uint64_t index_header_bytes_1 = 48;  ///< of version 1

struct IndexRun {
    std::uint32_t queue = 0;
    std::uint32_t count = 0;
    std::uint64_t first = 0;     ///< queue offset of the first entry
    std::uint64_t position = 0;  ///< of the first entry in the index file
};
static_assert(sizeof(IndexRun) == 24);

struct SegmentSpan {
    std::uint64_t base = 0;
    std::uint64_t end = 0;  ///< log offset behind the last group that counts
};

struct QueueSnapshot {
    std::string topic;
    std::int32_t queue_id = 0;
    std::uint64_t next = 0;
};

/// All that a segment needs to know of what came before it.
struct Snapshot {
    std::uint64_t capacity = 0;  ///< bytes of this segment
    std::uint64_t start = 0;     ///< log offset of the first segment that is kept
    std::uint64_t newest_ms = 0;
    std::vector<SegmentSpan> sealed;
    std::vector<QueueSnapshot> queues;
    std::map<std::string, std::string, std::less<>> state;
};

[[nodiscard]] std::string encode_snapshot(const Snapshot& snapshot);
[[nodiscard]] std::optional<Snapshot> decode_snapshot(std::string_view bytes);

[[nodiscard]] std::string encode_strings(std::string_view first, std::string_view second);
/// Reads as many strings as `into` has places; false when the bytes do not hold exactly these.
[[nodiscard]] bool decode_strings(std::string_view bytes, std::span<std::string_view> into);

[[nodiscard]] std::string encode_queue(std::int32_t queue_id, std::string_view topic);
[[nodiscard]] bool decode_queue(std::string_view bytes, std::int32_t& queue_id, std::string_view& topic);

[[nodiscard]] std::string segment_name(std::uint64_t base);
[[nodiscard]] std::string index_name(std::uint64_t base);
[[nodiscard]] std::string keys_name(std::uint64_t base);
/// The base in "<20 digits><suffix>", or nothing.
[[nodiscard]] std::optional<std::uint64_t> base_of(std::string_view name, std::string_view suffix);

[[nodiscard]] std::uint32_t group_crc(const GroupHeader& header, std::span<const TableEntry> table) noexcept;
[[nodiscard]] std::uint32_t entry_check(const IndexEntry& entry) noexcept;

[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) noexcept {
    return (value + step - 1) / step * step;
}
/// Bytes of the log that a group takes.
[[nodiscard]] constexpr std::uint64_t group_bytes(std::uint64_t record_bytes, std::uint64_t records) noexcept {
    return round_up(sizeof(GroupHeader) + round_up(record_bytes, 8) + records * sizeof(TableEntry), sector_bytes);
}

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) noexcept {
    return std::as_bytes(std::span{text.data(), text.size()});
}
[[nodiscard]] inline std::string_view text_of(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] Error corrupt_error(std::string text);

}  // namespace hufu::broker
