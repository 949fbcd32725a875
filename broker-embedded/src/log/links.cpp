#include "log/links.hpp"

#include <cstring>

#include <hufu/broker/log_record.hpp>

#include "log/crc32c.hpp"

namespace hufu::broker {

std::uint32_t head_crc(const LinkHead& head) noexcept {
    return crc32c(0, std::as_bytes(std::span{&head, 1}).subspan(offsetof(LinkHead, keys)));
}

std::optional<LinkHead> decode_link_head(std::span<const std::byte> bytes) noexcept {
    LinkHead head;
    if (bytes.size() < sizeof head) return std::nullopt;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.crc != head_crc(head) || head.target_size < log_record::bytes_min || head.target_size >= record_bytes_limit)
        return std::nullopt;
    return head;
}

std::optional<MarkHead> decode_mark_head(std::span<const std::byte> bytes) noexcept {
    MarkHead head;
    if (bytes.size() < sizeof head) return std::nullopt;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (bytes.size() != sizeof head + std::uint64_t{head.keys} * sizeof(std::uint64_t) + head.payload_bytes)
        return std::nullopt;
    return head;
}

namespace {

std::optional<QueuedRecord> queued_message(const ScannedRecord& record, std::uint32_t position) noexcept {
    const auto bytes = record.bytes;
    if (bytes.size() < log_record::bytes_min || bytes.size() >= record_bytes_limit) return std::nullopt;
    return QueuedRecord{.queue_offset = log_record::load_u64(bytes.data() + log_record::queue_offset_at),
                        .stored_at_ms = log_record::load_u64(bytes.data() + log_record::store_timestamp_at(bytes)),
                        .target = no_target,
                        .entry = {position, record.entry.size, record.entry.crc, 0, record.entry.tags_code},
                        .keys = {}};
}

std::optional<QueuedRecord> queued_link(const ScannedRecord& record, std::uint32_t position) noexcept {
    const auto head = decode_link_head(record.bytes);
    if (!head || record.bytes.size() != sizeof *head + std::uint64_t{head->keys} * sizeof(std::uint64_t) ||
        head->target >= record.log_offset || head->target_size > record.log_offset - head->target)
        return std::nullopt;
    return QueuedRecord{
        .queue_offset = head->queue_offset,
        .stored_at_ms = head->stored_at_ms,
        .target = head->target,
        .entry = {position, head->target_size | link_bit, head->target_crc, 0, record.entry.tags_code},
        .keys = record.bytes.subspan(sizeof *head),
    };
}

std::optional<QueuedRecord> queued_mark(const ScannedRecord& record, std::uint32_t position) noexcept {
    const auto head = decode_mark_head(record.bytes);
    if (!head || record.bytes.size() >= record_bytes_limit) return std::nullopt;
    return QueuedRecord{
        .queue_offset = head->queue_offset,
        .stored_at_ms = head->stored_at_ms,
        .target = no_target,
        .entry = {position, record.entry.size | mark_bit, record.entry.crc, 0, record.entry.tags_code},
        .keys = record.bytes.subspan(sizeof *head, head->keys * sizeof(std::uint64_t)),
    };
}

}  // namespace

std::optional<QueuedRecord> queued_record(const ScannedRecord& record, std::uint64_t base) noexcept {
    const auto position = static_cast<std::uint32_t>(record.log_offset - base);
    switch (static_cast<RecordKind>(record.entry.kind)) {
        case RecordKind::message: return queued_message(record, position);
        case RecordKind::link: return queued_link(record, position);
        case RecordKind::mark: return queued_mark(record, position);
        default: return std::nullopt;
    }
}

void append_keys(std::span<const std::byte> bytes, std::vector<std::uint64_t>& into) {
    for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t)))
        std::memcpy(&into.emplace_back(), bytes.data(), sizeof(std::uint64_t));
}

void patch_linked(std::span<std::byte> record, const LinkHead& link) noexcept {
    auto* flags = record.data() + log_record::sys_flag_at;
    const auto stored_at = log_record::store_timestamp_at(record);
    const auto prepared_at = log_record::prepared_offset_at(record);
    log_record::store_u64(record.data() + log_record::queue_offset_at, link.queue_offset);
    log_record::store_u64(record.data() + stored_at, link.stored_at_ms);
    if (prepared_at + sizeof(std::uint64_t) <= record.size())
        log_record::store_u64(record.data() + prepared_at, link.target);
    log_record::store_u32(flags,
                          (log_record::load_u32(flags) & ~log_record::transaction_bits) | log_record::transaction_commit);
}

}  // namespace hufu::broker
