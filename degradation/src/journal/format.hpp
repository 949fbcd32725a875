// What the journal's files contain, byte for byte. Numbers are little-endian.
//
// Segment "<10 digits: number>.journal": groups, each beginning on a sector (512 bytes), so that no sector that was
// acknowledged is ever written again. A group is what one sync made durable: frames back to back, the last one flagged,
// then zeros to the next sector. A group counts as a whole or not at all. Group numbers rise along a segment; one that was
// used up by a failed write is never used again, so that what such a write left behind is not taken for a later group.
// The first group of a segment holds one snapshot: what is left of all segments before it. So any segment without an entry
// that is left may be removed, in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>

#include "journal/ranges.hpp"

namespace hufu::degradation::journal {

inline constexpr std::uint64_t sector_bytes = 512;
inline constexpr std::uint32_t snapshot_magic = 0x4E4A4648U;  // "HFJN"
inline constexpr std::uint32_t format_version = 1;
/// No frame may be larger.
inline constexpr std::uint32_t frame_bytes_max = 256U << 20U;

enum class FrameKind : std::uint16_t {
    entry = 1,     ///< a message; `sequence` is its own
    trim = 2,      ///< ranges of entries that are gone
    park = 3,      ///< ranges of entries that are set aside, and the reason
    unpark = 4,    ///< ranges of entries that are back
    snapshot = 5,  ///< see Snapshot
};

struct FrameHeader {
    std::uint32_t size = 0;     ///< of the payload behind the header
    std::uint32_t crc = 0;      ///< CRC-32C of `size`, the rest of the header and the payload
    std::uint32_t segment = 0;  ///< number of the file that it belongs to
    std::uint32_t group = 0;
    std::uint64_t sequence = 0;
    FrameKind kind = FrameKind::entry;
    std::uint16_t last = 0;  ///< 1: of its group
    std::uint32_t reserved = 0;
};
static_assert(sizeof(FrameHeader) == 32);

/// A frame in memory that holds the bytes.
struct FrameView {
    FrameHeader header = {};
    std::string_view payload = {};
    std::size_t at = 0;  ///< from the first byte that was looked at
};

/// Appends a frame whose checksum, segment, group and last flag are still open.
void append_frame(std::string& to, FrameKind kind, std::uint64_t sequence, std::string_view payload);
/// Closes a group that begins at the first byte of `bytes`: fills in what is open and pads to a sector.
void close_group(std::string& bytes, std::uint32_t segment, std::uint32_t group);
/// Reads the group at the beginning of `bytes`, which belongs to `segment` and has a number above `group_before`. Empty:
/// there is none. `bytes_used` gets its size with the padding. `short_by` is set when the bytes end before the group does
/// (so that more should be read), else 0.
[[nodiscard]] std::vector<FrameView> read_group(std::string_view bytes, std::uint32_t segment, std::uint32_t group_before,
                                                std::size_t& bytes_used, std::size_t& short_by);

/// What a segment must know of those before it.
struct Snapshot {
    std::uint64_t next_sequence = 1;
    struct Sealed {
        std::uint32_t number = 0;
        std::uint64_t end = 0;    ///< bytes that count; what stands behind is a write that failed or was torn
        std::uint64_t first = 0;  ///< sequence of its first entry, also if there is none
        std::uint64_t next = 0;   ///< one behind its last entry
    };
    std::vector<Sealed> sealed = {};
    Ranges live = {};
    std::map<std::uint64_t, std::string> parked = {};  ///< sequence -> reason
};

[[nodiscard]] std::string encode(const Snapshot& snapshot);
/// Nothing: not a snapshot of this version.
[[nodiscard]] std::optional<Snapshot> decode_snapshot(std::string_view bytes);

[[nodiscard]] std::string encode_ranges(const Ranges& ranges, std::string_view reason = {});
[[nodiscard]] bool decode_ranges(std::string_view bytes, Ranges& ranges, std::string& reason);

/// An entry's payload: when it was spilled, the hash of its key, the packed message.
[[nodiscard]] std::string encode_entry(const Message& message, std::uint64_t key, SystemTime spilled_at);
struct EntryFacts {
    SystemTime spilled_at = {};
    std::uint64_t key = 0;
};
inline constexpr std::size_t entry_facts_bytes = 16;
/// Empty facts when the payload is too short.
[[nodiscard]] EntryFacts facts_of(std::string_view payload) noexcept;
[[nodiscard]] Result<Message> message_of(std::string_view payload);

/// Of topic and ordering key, the same in every process; 0 without a key.
[[nodiscard]] std::uint64_t key_hash(std::string_view topic, std::string_view ordering_key) noexcept;

[[nodiscard]] std::string segment_name(std::uint32_t number);
[[nodiscard]] std::optional<std::uint32_t> segment_number(std::string_view name);

[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value) noexcept {
    return (value + sector_bytes - 1) / sector_bytes * sector_bytes;
}

}  // namespace hufu::degradation::journal
