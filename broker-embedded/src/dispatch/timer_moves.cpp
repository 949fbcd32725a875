// Keeping delayed messages when the log gives up its oldest segments.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/properties.hpp>

#include "timer_records.hpp"
#include "timers.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t moved_at_once = 256;

}  // namespace

Result<bool> Timers::move_out_of(DispatchState& state, std::uint64_t log_offset) {
    const std::uint64_t first = log_.min_offset(wheel_);
    if (const std::size_t lost = book_.purge_below(first); lost > 0)
        state.alarm(std::to_string(lost) + " delayed message(s) were dropped with their segment before they were due");
    std::uint64_t bound = log_.max_offset(wheel_);
    log_.for_each_entry(wheel_, first, [&](const QueueEntry& entry) {
        if (entry.log_offset < log_offset) return true;
        bound = entry.queue_offset;
        return false;
    });
    const std::vector<Timer> live = book_.live_below(bound);
    if (!live.empty()) {
        for (std::size_t at = 0; at < live.size() && at < moved_at_once; ++at)
            if (auto moved = move_one(state, live[at]); !moved) return moved.error();
        return false;
    }
    // The newest progress must not go either.
    const bool has_progress = log_.max_offset(progress_) > 0 || progress_log_offset_ > 0;
    if (has_progress && progress_log_offset_ < log_offset) {
        const auto progress = append_progress(state, 0);
        if (!progress) return progress.error();
        moved_ticket_ = progress->ticket;
    }
    return moved_ticket_ <= settled_ticket_;
}

Result<void> Timers::move_one(DispatchState& state, const Timer& timer) {
    read_.clear();
    const ReadResult result = log_.read(wheel_, timer.offset, {.records_max = 1, .scan_max = 1}, {}, read_);
    std::optional<remoting::Record> record;
    if (result.status == ReadStatus::found) {
        if (const auto decoded = remoting::decode_record(read_)) record = *decoded;
    }
    std::string key;
    if (record) {
        key = remoting::PropertiesView{record->properties}.get(remoting::property::unique_key).value_or("");
    } else {
        state.alarm("the delayed message at offset " + std::to_string(timer.offset) + ", due at " +
                    std::to_string(timer.due_ms) + " ms, is damaged and cannot be kept; send it again");
    }
    const remoting::Record gone = own_record(recall_topic, key);
    // The copy and the end of what it was copied from are one step.
    const std::uint64_t bytes = room_for(gone) + progress_bytes + (record ? room_for(*record) : 0);
    if (auto reserved = log_.reserve(bytes, 3); !reserved) return reserved.error();
    if (record) {
        Traits traits;
        static_cast<void>(read_properties(record->properties, traits));
        const auto copied = append_timer(state, *record, traits, book_.admit(timer.due_ms, wall_ms(state)));
        HUFU_ASSERT(copied);  // room was reserved
    }
    const auto recalled = append_own(state, recalls_, static_cast<std::int64_t>(timer.offset), gone);
    HUFU_ASSERT(recalled);
    next_recall_ = recalled->queue_offset + 1;
    book_.recall(timer.offset, recalled->queue_offset);
    moved_ticket_ = recalled->ticket;
    return {};
}

}  // namespace hufu::broker
