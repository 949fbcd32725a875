// Delivering delayed messages: slices of what is due, copied into their queues.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/properties.hpp>

#include "timer_records.hpp"
#include "timers.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint64_t slice_bytes = 256U << 10U;
constexpr std::chrono::milliseconds busy_wait{2};  // the log is behind
constexpr std::chrono::milliseconds refused_wait{100};
constexpr std::chrono::milliseconds look_again{1000};  // the wall clock may step

}  // namespace

void Timers::deliver(DispatchState& state, SteadyTime now) {
    next_at_ = SteadyTime::max();
    if (book_.next() == nullptr) return;
    if (log_.refusing()) {
        next_at_ = now + refused_wait;
        return;
    }
    if (flying_bytes_ >= flying_max_) {
        waits_for_log_ = true;
        return;
    }
    if (log_.congested() || !log_.roomy()) {
        next_at_ = now + busy_wait;
        return;
    }
    turn_ = now;
    const std::int64_t now_ms = wall_ms(state);
    std::vector<Due> slice = take_due(now_ms);
    if (!slice.empty()) {
        read(slice);
        if (const auto copied = copy(state, slice, now_ms); !copied) {
            put_back(slice);
            // Perhaps it is too much at once for what is left of the log's memory or segment.
            slice_records_ = std::max<std::size_t>(1, slice.size() / 2);
            waits_for_log_ = true;
            next_at_ = now + busy_wait;
            return;
        }
        slice_records_ = std::min(slice_records_max, slice_records_ * 2);
        report(state, slice);
        note_pending();
    }
    wait_for_next(now, now_ms);
}

void Timers::wait_for_next(SteadyTime now, std::int64_t now_ms) {
    const Timer* const next = book_.next();
    if (next == nullptr) return;
    if (next->due_ms > now_ms) {
        next_at_ = now + std::min<std::chrono::milliseconds>(std::chrono::milliseconds{next->due_ms - now_ms}, look_again);
    } else if (next->offset >= log_.max_offset(wheel_)) {
        waits_for_log_ = true;  // accepted, and not durable yet
    } else {
        next_at_ = now;
    }
}

std::vector<Timers::Due> Timers::take_due(std::int64_t now_ms) {
    // Never past one that is not durable yet: after a crash it could be there, behind a progress that covers it.
    const std::uint64_t durable = mutant_active("timer_passes_what_is_not_durable") ? next_offset_ : log_.max_offset(wheel_);
    std::vector<Due> slice;
    for (const Timer* next = book_.next(); next != nullptr && slice.size() < slice_records_; next = book_.next()) {
        if (next->due_ms > now_ms || next->offset >= durable) break;
        slice.push_back({.timer = book_.take_next()});
        slice.back().recalled = book_.is_recalled(slice.back().timer.offset);
    }
    return slice;
}

void Timers::read(std::vector<Due>& slice) {
    // Neighbours in the order of delivery are mostly neighbours in the log: one read for each such stretch.
    read_.clear();
    std::size_t looked_at = 0;
    while (looked_at < slice.size() && read_.size() < slice_bytes) {
        if (slice[looked_at].recalled) {
            ++looked_at;
            continue;
        }
        const std::uint64_t first = slice[looked_at].timer.offset;
        std::size_t end = looked_at + 1;
        while (end < slice.size() && !slice[end].recalled && slice[end].timer.offset == first + (end - looked_at)) ++end;
        ReadLimits limits;
        limits.records_max = limits.scan_max = static_cast<std::uint32_t>(end - looked_at);
        limits.bytes_max = slice_bytes - read_.size();
        const ReadResult result = log_.read(wheel_, first, limits, {}, read_);
        // A damaged record, or one that retention took, is passed over: nothing is read for it.
        looked_at += std::max<std::size_t>(1, std::min<std::size_t>(end - looked_at, result.next_offset - first));
    }
    for (std::size_t at = slice.size(); at > looked_at; --at) book_.put_back({&slice[at - 1].timer, 1});
    slice.resize(looked_at);
    std::span<const std::byte> rest{read_};
    for (Due& due : slice) {
        if (due.recalled || rest.empty()) continue;
        const auto record = remoting::decode_record(rest);
        if (!record || static_cast<std::uint64_t>(record->queue_offset) != due.timer.offset) continue;
        due.record = *record;
        rest = rest.subspan(remoting::peek_record_size(rest));
    }
}

std::uint64_t Timers::address(DispatchState& state, std::vector<Due>& slice) {
    std::uint64_t bytes = progress_bytes;
    for (Due& due : slice) {
        if (!due.record) continue;
        bytes += room_for(*due.record);
        const Topic* topic = state.find_topic(due.record->topic);
        due.astray = topic == nullptr;
        if (due.astray) {
            bytes += 2 * derived_topic_length_max;
            topic = state.find_topic(astray_topic);
            if (topic == nullptr) {
                // A broker that cannot make another topic still has to keep the message.
                const auto made = state.create_topic(astray_topic, 1);
                if (made) topic = *made;
            }
            due.queue = topic != nullptr ? topic->queues.front() : log_.open_queue(astray_topic, 0);
            continue;
        }
        // The topic may have fewer queues than when the message was sent.
        const auto queue_id = static_cast<std::size_t>(due.record->queue_id) % topic->queues.size();
        due.record->queue_id = static_cast<std::int32_t>(queue_id);
        due.queue = topic->queues[queue_id];
    }
    return bytes;
}

Result<void> Timers::copy(DispatchState& state, std::vector<Due>& slice, std::int64_t now_ms) {
    const std::uint64_t bytes = address(state, slice);
    if (!mutant_active("timer_progress_before_copies")) {
        if (auto reserved = log_.reserve(bytes, slice.size() + 1); !reserved) return reserved;
    }
    for (const Due& due : slice) book_.passed(due.timer);
    Flight flight;
    std::optional<Appended> last;
    if (mutant_active("timer_progress_before_copies")) last = append_progress(state, slice.size()).value();
    for (const Due& due : slice) {
        flight.taken.push_back(due.timer);
        if (!due.record) continue;
        const auto appended = copy_one(state, due, now_ms);
        HUFU_ASSERT(appended || mutant_active("timer_progress_before_copies"));  // room was reserved
        if (!appended) continue;
        last = *appended;
        flight.grown.push_back(due.queue);
        flight.bytes += remoting::record_size(*due.record);
    }
    if (!mutant_active("timer_progress_before_copies") && !(mutant_active("timer_delivered_without_progress") && last)) {
        const auto progress = append_progress(state, slice.size());
        HUFU_ASSERT(progress);
        last = *progress;
    }
    flight.ticket = last->ticket;
    flight.began = turn_;
    flight.progress = book_.progress();
    fly(std::move(flight));
    return {};
}

Result<Appended> Timers::copy_one(DispatchState& state, const Due& due, std::int64_t now_ms) {
    remoting::Record record = *due.record;
    properties_.assign(record.properties);
    if (!properties_.empty() && properties_.back() != remoting::property_separator)
        properties_ += remoting::property_separator;
    if (due.astray) {
        remoting::append_property(properties_, remoting::property::dlq_origin_topic, record.topic);
        record.topic = astray_topic;
        record.queue_id = 0;
    }
    if (remoting::PropertiesView{record.properties}.get(remoting::property::timer_out_ms))
        remoting::append_property(properties_, remoting::property::timer_dequeue_ms, std::to_string(now_ms));
    if (properties_.size() <= remoting::properties_bytes_max) record.properties = properties_;
    Traits traits;
    // What was accepted with these properties is readable; a UNIQ_KEY it has since then.
    static_cast<void>(read_properties(record.properties, traits));
    return broker::store(state, due.queue, record, traits, {.has_body_crc = true});
}

void Timers::report(DispatchState& state, const std::vector<Due>& slice) {
    std::size_t unreadable = 0;
    std::size_t astray = 0;
    std::string_view topic;
    for (const Due& due : slice) {
        if (!due.record && !due.recalled) ++unreadable;
        if (!due.astray) continue;
        ++astray;
        topic = due.record->topic;
    }
    if (unreadable > 0)
        state.alarm(
            std::to_string(unreadable) +
            " delayed message(s) were due and cannot be read, because they are damaged or their segment was dropped; "
            "send them again");
    if (astray > 0) {
        astray_count_.add(astray);
        state.alarm(std::to_string(astray) + " delayed message(s) were due for topics that do not exist any more, like \"" +
                    std::string{topic} + "\"; they are in topic \"" + std::string{astray_topic} +
                    "\" and name their topic in DLQ_ORIGIN_TOPIC");
    }
}

void Timers::put_back(const std::vector<Due>& slice) {
    for (const Due& due : slice) book_.put_back({&due.timer, 1});
}

}  // namespace hufu::broker
