// Links and marks: the two small kinds of record that take an offset of a queue without being a message.
//
// Link: LinkHead | its keys (u64 each). Mark: MarkHead | its keys | its payload. The keys stand in the record, so that the
// key index can be rebuilt without looking elsewhere.
#pragma once

#include <optional>
#include <vector>

#include "log/format.hpp"
#include "log/scan.hpp"

namespace hufu::broker {

struct LinkHead {
    std::uint32_t crc = 0;  ///< CRC-32C of the rest of the head: readers look at no more than it
    std::uint32_t keys = 0;
    std::uint64_t target = 0;  ///< log offset of the message
    std::uint64_t queue_offset = 0;
    std::uint64_t stored_at_ms = 0;
    std::uint32_t target_size = 0;
    std::uint32_t target_crc = 0;
};
static_assert(sizeof(LinkHead) == 40);

struct MarkHead {
    std::uint64_t queue_offset = 0;
    std::uint64_t stored_at_ms = 0;
    std::uint32_t keys = 0;
    std::uint32_t payload_bytes = 0;
};
static_assert(sizeof(MarkHead) == 24);

[[nodiscard]] std::uint32_t head_crc(const LinkHead& head) noexcept;
/// The head at the beginning of `bytes`; nothing when it does not verify.
[[nodiscard]] std::optional<LinkHead> decode_link_head(std::span<const std::byte> bytes) noexcept;
/// The head of a whole mark whose bytes are known to be intact; nothing when its lengths do not fit.
[[nodiscard]] std::optional<MarkHead> decode_mark_head(std::span<const std::byte> bytes) noexcept;

/// What the index needs of a record that takes an offset of a queue.
struct QueuedRecord {
    std::uint64_t queue_offset = 0;
    std::uint64_t stored_at_ms = 0;
    std::uint64_t target = no_target;  ///< of a link
    IndexEntry entry;
    std::span<const std::byte> keys;  ///< those that stand in the record itself: of a link or mark
};

/// The record as its queue's index has it; nothing when it is of another kind, or its bytes make no sense. It must be
/// intact, in the segment that begins at `base`.
[[nodiscard]] std::optional<QueuedRecord> queued_record(const ScannedRecord& record, std::uint64_t base) noexcept;

/// Appends the keys in `bytes` to `into`.
void append_keys(std::span<const std::byte> bytes, std::vector<std::uint64_t>& into);

/// Makes the bytes of the half what readers of the destination get: its offset there, when it came there, the sign that
/// its transaction was committed, and where the half stands.
void patch_linked(std::span<std::byte> record, const LinkHead& link) noexcept;

}  // namespace hufu::broker
