// Appending links and marks.
#include <algorithm>
#include <array>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "log/impl.hpp"

namespace hufu::broker {
namespace {

Error refused(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

Result<void> check_keys(std::span<const std::uint64_t> keys) {
    if (keys.size() <= Log::link_keys_max) return {};
    return refused(std::to_string(keys.size()) + " keys are more than a link or mark may have, " +
                   std::to_string(Log::link_keys_max));
}

}  // namespace

std::uint64_t Log::link_bytes(std::size_t keys) noexcept { return sizeof(LinkHead) + keys * sizeof(std::uint64_t); }

std::uint64_t Log::mark_bytes(std::size_t payload, std::size_t keys) noexcept {
    return sizeof(MarkHead) + keys * sizeof(std::uint64_t) + payload;
}

bool Log::link_reaches(std::uint64_t log_offset) const noexcept {
    const auto& log = *impl_;
    if (log_offset >= log.active.base) return true;
    const std::size_t back = log.options.link_segments_max;
    const auto count = log.sealed.size();
    return back > 0 && count > 0 && log_offset >= log.sealed[count > back ? count - back : 0]->base;
}

Result<IndexEntry> Log::Impl::target_entry(const LinkTarget& target) {
    HUFU_ASSERT(target.queue.value < queues.size());
    auto& queue = queues[target.queue.value];
    const auto first = queue.runs.empty() ? queue.active_first : queue.runs.front().first;
    if (target.queue_offset >= first && target.queue_offset < queue.next) {
        const auto located = locate(queue, target.queue_offset, queue.next, 1);
        if (!located.entries.empty()) {
            const auto& entry = located.entries[0];
            // What was refused after a failed sync gives its queue offset to another message.
            const bool same = base_of_segment(located.segment) + entry.position == target.log_offset ||
                              mutant_active("link_without_target_check");
            if (entry.is_message() && entry.size != 0 && same) return entry;
        }
    }
    return Error{ErrorCode::not_found, Disposition::reject,
                 "no message stands at offset " + std::to_string(target.log_offset) + " of the log as offset " +
                     std::to_string(target.queue_offset) + " of queue " + std::to_string(queue.queue_id) + " of topic \"" +
                     queue.topic + "\"; there is nothing to link to"};
}

Appended Log::Impl::append_small(RecordKind kind, QueueHandle handle, const Appended& place,
                                 std::span<const std::span<const std::byte>> parts, IndexEntry entry,
                                 std::span<const std::uint64_t> keys) {
    auto& queue = queues[handle.value];
    auto appended = place;
    finish_record(add_record(kind, handle.value, entry.tags_code, parts, appended.log_offset));
    appended.ticket = last_ticket;
    ++queue.next;
    entry.position = static_cast<std::uint32_t>(appended.log_offset - active.base);
    if (entry.is_mark()) entry.crc = open->table.back().crc;
    queue.active.push_back(entry);
    if (options.keys_of) note_keys(entry.position, keys, appended.stored_at_ms);
    return appended;
}

Result<Appended> Log::append_link(QueueHandle handle, std::int64_t tags_code, const LinkTarget& target,
                                  std::span<const std::uint64_t> keys) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    if (auto checked = check_keys(keys); !checked) return checked.error();
    const auto message = log.target_entry(target);
    if (!message) return message.error();
    const auto too_far = [&] {
        return refused("the message at offset " + std::to_string(target.log_offset) + " of the log is more than " +
                       std::to_string(log.options.link_segments_max) + " segments back, too far for a link; copy it");
    };
    if (!link_reaches(target.log_offset)) return too_far();
    if (auto room = log.make_room_in(handle, link_bytes(keys.size())); !room) return room.error();
    if (!link_reaches(target.log_offset)) return too_far();  // a new segment was begun for it
    log.announce(handle);
    const auto place = log.next_place(handle);
    LinkHead head{.crc = 0,
                  .keys = static_cast<std::uint32_t>(keys.size()),
                  .target = target.log_offset,
                  .queue_offset = place.queue_offset,
                  .stored_at_ms = place.stored_at_ms,
                  .target_size = message->size,
                  .target_crc = message->crc};
    head.crc = head_crc(head);
    log.active.oldest_target = std::min(log.active.oldest_target, head.target);
    const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span{&head, 1}), std::as_bytes(keys)};
    return log.append_small(RecordKind::link, handle, place, parts,
                            {0, message->size | link_bit, message->crc, 0, tags_code}, keys);
}

Result<Appended> Log::append_mark(QueueHandle handle, std::int64_t tags_code, std::span<const std::byte> payload,
                                  std::span<const std::uint64_t> keys) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    if (auto checked = check_keys(keys); !checked) return checked.error();
    if (payload.size() > mark_payload_max)
        return refused("a mark holds " + std::to_string(mark_payload_max) + " bytes, not " + std::to_string(payload.size()));
    const auto size = mark_bytes(payload.size(), keys.size());
    if (auto room = log.make_room_in(handle, size); !room) return room.error();
    log.announce(handle);
    const auto place = log.next_place(handle);
    const MarkHead head{.queue_offset = place.queue_offset,
                        .stored_at_ms = place.stored_at_ms,
                        .keys = static_cast<std::uint32_t>(keys.size()),
                        .payload_bytes = static_cast<std::uint32_t>(payload.size())};
    const std::array<std::span<const std::byte>, 3> parts{std::as_bytes(std::span{&head, 1}), std::as_bytes(keys), payload};
    return log.append_small(RecordKind::mark, handle, place, parts,
                            {0, static_cast<std::uint32_t>(size) | mark_bit, 0, 0, tags_code}, keys);
}

}  // namespace hufu::broker
