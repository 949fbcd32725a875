// Giving up the oldest segments.
#include <algorithm>
#include <array>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "log/impl.hpp"

namespace hufu::broker {

std::uint64_t Log::end_of_expired(std::uint64_t bytes_max, std::optional<SystemTime> keep_after) const {
    const auto& log = *impl_;
    const auto keep_ms =
        keep_after ? std::chrono::duration_cast<std::chrono::milliseconds>(keep_after->time_since_epoch()).count() : 0;
    auto bytes = bytes_on_disk();
    std::size_t count = 0;
    for (const auto& segment : log.sealed) {
        const bool large = bytes_max > 0 && bytes > bytes_max;
        const bool old = keep_after && static_cast<std::int64_t>(segment->newest_ms) < keep_ms;
        if ((!large && !old) || segment->end > log.durable) break;
        bytes -= segment->end - segment->base;
        ++count;
    }
    // Links in what stays must not dangle. Those in what has expired may: else each would hold the one before it for ever.
    auto target = log.active.oldest_target;
    for (auto i = count; i < log.sealed.size(); ++i) target = std::min(target, log.sealed[i]->oldest_target);
    if (mutant_active("retention_forgets_links")) target = no_target;
    while (count > 0 && log.sealed[count - 1]->end > target) --count;
    return count < log.sealed.size() ? log.sealed[count]->base : log.active.base;
}

std::uint64_t Log::offset_behind(QueueHandle handle, std::uint64_t log_offset) const {
    HUFU_ASSERT(handle.value < impl_->queues.size());
    const auto& queue = impl_->queues[handle.value];
    auto first = queue.active_first;
    for (auto run = queue.runs.rbegin(); run != queue.runs.rend() && run->segment->base >= log_offset; ++run)
        first = run->first;
    return std::max(std::min(first, queue.durable_next), first_kept(queue));
}

std::size_t Log::drop_segments(std::uint64_t bytes_max, std::optional<SystemTime> keep_after) {
    return drop_before(end_of_expired(bytes_max, keep_after));
}

std::size_t Log::drop_before(std::uint64_t log_offset) {
    auto& log = *impl_;
    if (log.refusing || log.dropping_waits) return 0;
    std::size_t count = 0;
    for (const auto& segment : log.sealed) {
        if (segment->end > log_offset || segment->end > log.durable || (segment->memory && log.chore_out)) break;
        ++count;
    }
    if (count == 0) return 0;
    const auto new_start = count < log.sealed.size() ? log.sealed[count]->base : log.active.base;
    std::array<std::byte, sizeof new_start> payload{};
    std::copy_n(std::as_bytes(std::span{&new_start, 1}).begin(), payload.size(), payload.begin());
    auto ticket = log.append_system(RecordKind::start, text_of(payload));
    if (!ticket) return 0;
    log.start = new_start;
    log.dropping_ticket = *ticket;
    log.dropping_waits = true;
    for (std::size_t i = 0; i < count; ++i) {
        auto* segment = log.sealed.front().get();
        log.unwanted_later.push_back(segment_name(segment->base));
        log.unwanted_later.push_back(index_name(segment->base));
        log.unwanted_later.push_back(keys_name(segment->base));
        for (auto& queue : log.queues) {
            std::erase_if(queue.runs, [segment](const SealedRun& run) { return run.segment == segment; });
        }
        std::erase(log.opened, segment);
        log.sealed.pop_front();
    }
    return count;
}

}  // namespace hufu::broker
