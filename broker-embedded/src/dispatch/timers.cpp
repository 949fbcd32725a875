#include "timers.hpp"

#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/checksum.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

/// Properties that only the broker says of a delayed message. Those of an earlier delay are not carried along.
bool is_of_delay(std::string_view name) noexcept {
    using namespace remoting::property;
    return name == real_topic || name == real_queue_id || name == timer_out_ms || name == timer_enqueue_ms ||
           name == timer_dequeue_ms;
}

}  // namespace

Timers::Timers(Log& log, MetricsRegistry& metrics)
    : log_{log},
      wheel_{log.open_queue(timer_topic, 0)},
      recalls_{log.open_queue(recall_topic, 0)},
      progress_{log.open_queue(timer_progress_topic, 0)},
      pending_gauge_{metrics.gauge("hufu_broker_timers_pending", "Delayed messages that are not due yet")},
      accepted_count_{metrics.counter("hufu_broker_timers_accepted_total", "Delayed messages taken by the log")},
      delivered_count_{metrics.counter("hufu_broker_timers_delivered_total", "Delayed messages put into their queues")},
      recalled_count_{metrics.counter("hufu_broker_timers_recalled_total", "Delayed messages recalled by their senders")},
      astray_count_{metrics.counter("hufu_broker_timers_astray_total",
                                    "Delayed messages put into the dead letters because their topic was deleted")},
      lateness_{metrics.histogram("hufu_broker_timer_lateness_seconds", "From due to durable in the queue",
                                  {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600})} {}

void Timers::load(DispatchState& state) {
    // The newest progress counts. Should it be damaged, an earlier one is true as well, but says less.
    constexpr std::uint64_t tries = 64;
    const std::uint64_t end = log_.max_offset(progress_);
    const std::uint64_t begin = std::max(log_.min_offset(progress_), end > tries ? end - tries : 0);
    std::optional<TimerProgress> found;
    for (std::uint64_t offset = end; offset > begin && !found; --offset) {
        read_.clear();
        const ReadResult result = log_.read(progress_, offset - 1, {.records_max = 1, .scan_max = 1}, {}, read_);
        if (result.status != ReadStatus::found) continue;
        const auto record = remoting::decode_record(read_);
        if (record) found = TimerProgress::decode(record->body);
        if (found) progress_log_offset_ = static_cast<std::uint64_t>(record->physical_offset);
        if (found && offset < end)
            state.alarm(
                "the newest record of how far delayed messages were delivered is damaged; those delivered last are "
                "delivered again");
    }
    if (!found && end > 0)
        state.alarm("no record of how far delayed messages were delivered can be read; all that is kept is delivered again");
    durable_ = found.value_or(TimerProgress{});
    book_.restore(durable_);
    log_.for_each_entry(wheel_, durable_.low, [&](const QueueEntry& entry) {
        book_.restore(Timer{entry.tags_code, entry.queue_offset});
        return true;
    });
    if (!mutant_active("timer_recall_forgotten"))
        log_.for_each_entry(recalls_, durable_.recalls_low, [&](const QueueEntry& entry) {
            book_.recall(static_cast<std::uint64_t>(entry.tags_code), entry.queue_offset);
            return true;
        });
    book_.restored();
    next_offset_ = log_.max_offset(wheel_);
    next_recall_ = log_.max_offset(recalls_);
    read_ = {};
    if (book_.next() != nullptr) next_at_ = SteadyTime{};
    note_pending();
}

// Accepting.

Result<Appended> Timers::store(DispatchState& state, remoting::Record& record, const Traits& traits, const Delay& delay) {
    if (book_.size() >= state.options.timers_max)
        return Error{ErrorCode::busy, Disposition::retry,
                     "the broker keeps " + std::to_string(book_.size()) + " delayed messages already; try again later"};
    properties_.clear();
    remoting::PropertiesView given{record.properties};
    while (const auto entry = given.next())
        if (!is_of_delay(entry->name)) remoting::append_property(properties_, entry->name, entry->value);
    const std::int64_t now_ms = wall_ms(state);
    remoting::append_property(properties_, remoting::property::real_topic, record.topic);
    remoting::append_property(properties_, remoting::property::real_queue_id, std::to_string(record.queue_id));
    if (delay.any_time) {
        remoting::append_property(properties_, remoting::property::timer_out_ms, std::to_string(delay.due_ms));
        remoting::append_property(properties_, remoting::property::timer_enqueue_ms, std::to_string(now_ms));
    }
    const std::size_t minted = traits.unique_key.empty() ? minted_key_bytes : 0;
    if (properties_.size() + minted > remoting::properties_bytes_max)
        return Error{ErrorCode::too_large, Disposition::reject,
                     "the properties of a delayed message have " + std::to_string(properties_.size() + minted) +
                         " bytes with those that the broker adds; at most " +
                         std::to_string(remoting::properties_bytes_max) + " are allowed"};
    record.properties = properties_;

    const TimerBook::Admission admission = book_.admit(delay.due_ms, now_ms);
    if (admission.new_part) {
        if (auto reserved = log_.reserve(room_for(record) + minted + progress_bytes, 2); !reserved) return reserved.error();
    }
    const auto appended = append_timer(state, record, traits, admission);
    if (appended) accepted_count_.add();
    note_pending();
    return appended;
}

Result<Appended> Timers::append_timer(DispatchState& state, remoting::Record& record, const Traits& traits,
                                      const TimerBook::Admission& admission) {
    auto appended = broker::store(state, wheel_, record, traits, {.tags_code = admission.due_ms});
    if (!appended) return appended;
    next_offset_ = appended->queue_offset + 1;
    book_.add({admission.due_ms, appended->queue_offset});
    if (book_.next()->offset == appended->queue_offset) next_at_ = SteadyTime{};
    if (admission.new_part) {
        book_.begin_part(appended->queue_offset);
        const auto progress = append_progress(state, 0);
        HUFU_ASSERT(progress);  // room was reserved
        appended->ticket = progress->ticket;
    }
    return appended;
}

bool Timers::waits_at(std::uint64_t offset) {
    bool waits = false;
    log_.for_each_entry(wheel_, offset, [&](const QueueEntry& entry) {
        waits = entry.queue_offset == offset && !book_.progress().covers({entry.tags_code, offset});
        return false;
    });
    return waits;
}

Result<Appended> Timers::recall(DispatchState& state, std::uint64_t offset, std::string_view unique_key) {
    remoting::Record record = own_record(recall_topic, unique_key);
    record.born_timestamp = wall_ms(state);
    const auto appended = append_own(state, recalls_, static_cast<std::int64_t>(offset), record);
    if (!appended) return appended;
    next_recall_ = appended->queue_offset + 1;
    if (!book_.is_recalled(offset)) {
        book_.recall(offset, appended->queue_offset);
        recalled_count_.add();
    }
    note_pending();
    return appended;
}

Result<Appended> Timers::append_progress(DispatchState& state, std::size_t delivered) {
    book_.raise_low(delivered, next_offset_, next_recall_);
    const std::string text = book_.progress().encode();
    auto appended = append_own(state, progress_, 0, own_record(timer_progress_topic, text));
    if (!appended) return appended;
    progress_log_offset_ = appended->log_offset;
    fly({.ticket = appended->ticket, .progress = book_.progress()});
    return appended;
}

// Settling.

void Timers::fly(Flight flight) {
    flying_bytes_ += flight.bytes;
    flights_.push_back(std::move(flight));
}

void Timers::settled(DispatchState& state, const Outcome& outcome, SteadyTime now) {
    if (outcome.through == 0) return;
    settled_ticket_ = outcome.through;
    if (!outcome.durable) return refused();
    std::chrono::nanoseconds longest{0};
    while (!flights_.empty() && flights_.front().ticket <= outcome.through) {
        if (flights_.front().bytes > 0) longest = std::max(longest, now - flights_.front().began);
        landed(state, flights_.front());
        flights_.pop_front();
    }
    adapt(longest);
    if (waits_for_log_) {
        waits_for_log_ = false;
        next_at_ = SteadyTime{};
    }
}

void Timers::adapt(std::chrono::nanoseconds flight) {
    // A send that comes in between waits as long as what it finds on its way to the disk.
    constexpr std::chrono::milliseconds long_flight{30};
    constexpr std::uint64_t flying_max_least = 128U << 10U;
    if (flight.count() == 0) return;
    flying_max_ = flight > long_flight ? std::max(flying_max_least, flying_max_ / 2)
                                       : std::min(flying_max_most, flying_max_ + flying_max_least);
}

void Timers::landed(DispatchState& state, Flight& flight) {
    flying_bytes_ -= flight.bytes;
    durable_ = std::move(flight.progress);
    const std::int64_t now_ms = wall_ms(state);
    std::size_t delivered = 0;
    for (const Timer& timer : flight.taken) {
        if (book_.recalled() > 0 && book_.is_recalled(timer.offset)) {
            book_.forget_recall(timer.offset);
            continue;
        }
        ++delivered;
        lateness_.observe(static_cast<double>(std::max<std::int64_t>(0, now_ms - timer.due_ms)) / 1000);
    }
    delivered_count_.add(delivered);
    for (const QueueHandle handle : flight.grown) {
        QueueWaits& queue = state.queue(handle);
        if (queue.grew) continue;
        queue.grew = true;
        state.grown.push_back(handle);
    }
    if (!flight.taken.empty()) note_pending();
}

void Timers::refused() {
    if (!mutant_active("timer_progress_kept_after_refusal")) {
        for (const Flight& flight : flights_) book_.put_back(flight.taken);
        book_.set_progress(durable_);
    }
    flights_.clear();
    flying_bytes_ = 0;
    next_offset_ = log_.max_offset(wheel_);
    next_recall_ = log_.max_offset(recalls_);
    book_.refuse(next_offset_, next_recall_);
    progress_log_offset_ = 0;
    waits_for_log_ = false;
    if (book_.next() != nullptr) next_at_ = SteadyTime{};
    note_pending();
}

void Timers::note_pending() {
    const auto pending = static_cast<std::int64_t>(book_.size()) - static_cast<std::int64_t>(book_.recalled());
    pending_gauge_.set(std::max<std::int64_t>(0, pending));
}

Result<Appended> store_delayed(DispatchState& state, remoting::Record& record, const Traits& traits, const Delay& delay) {
    return state.timers.store(state, record, traits, delay);
}

Result<bool> move_timers_out_of(DispatchState& state, std::uint64_t log_offset) {
    return state.timers.move_out_of(state, log_offset);
}

}  // namespace hufu::broker
