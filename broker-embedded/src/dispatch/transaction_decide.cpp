// Carrying a verdict out: messages into their queues, and the events that say so, as one group of the log.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "delay.hpp"
#include "state.hpp"
#include "timer_records.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

/// What a delayed message takes beside its half, and what the timers may add of their own.
constexpr std::uint64_t delay_bytes = 1'024 + progress_bytes;
/// Log::reserve adds room for names of queues each time; the timers reserve again within.
constexpr std::uint64_t names_bytes = 16U << 10U;

/// A verdict that the log refuses ends a question all the same.
Half not_asked(Half half) {
    half.asked = false;
    return half;
}

}  // namespace

std::string Transactions::address(DispatchState& state, const std::vector<LoadedHalf>& halves,
                                  std::vector<Destination>& destinations) {
    for (const LoadedHalf& half : halves) {
        Destination& to = destinations.emplace_back();
        to.topic = state.find_topic(half.record.topic);
        if (to.topic == nullptr) return std::string{half.record.topic};
        // The topic may have fewer queues than when the message was sent.
        to.queue_id = static_cast<std::int32_t>(static_cast<std::size_t>(half.record.queue_id) % to.topic->queues.size());
        to.queue = to.topic->queues[static_cast<std::size_t>(to.queue_id)];
        Traits traits;
        static_cast<void>(read_properties(half.record.properties, traits));
        // What was too far ahead when the half came was refused then; what has passed since is for now.
        if (asks_for_delay(traits)) static_cast<void>(read_delay(state.options, traits, wall_ms(state), to.delay));
    }
    return {};
}

bool Transactions::links_to(const LoadedHalf& half, const Destination& to) const {
    return !to.delay && !half.half.place.moved && half.record.queue_id == to.queue_id &&
           log_.link_reaches(half.home.log_offset);
}

Result<Appended> Transactions::deliver(DispatchState& state, const LoadedHalf& half, const Destination& to) {
    Traits traits;
    static_cast<void>(read_properties(half.record.properties, traits));
    if (links_to(half, to))
        return log_.append_link(to.queue, remoting::tags_code(traits.tags),
                                {halves_, half.home.offset, half.home.log_offset});
    remoting::Record record = half.record;
    std::string properties;
    if (half.half.place.moved) {
        properties = properties_without_home(record.properties);
        record.properties = properties;
    }
    record.queue_id = to.queue_id;
    record.sys_flag = (record.sys_flag & ~remoting::sys_flag::transaction_mask) | remoting::sys_flag::transaction_commit;
    record.prepared_transaction_offset = static_cast<std::int64_t>(half.home.log_offset);
    record.store_host = state.options.advertised;
    traits = {};
    static_cast<void>(read_properties(record.properties, traits));
    if (to.delay) return state.timers.store(state, record, traits, *to.delay);
    return broker::store(state, to.queue, record, traits, {.has_body_crc = true});
}

Result<void> Transactions::append_group(DispatchState& state, const std::vector<LoadedHalf>& halves,
                                        const std::vector<Destination>& destinations, const VerdictRequest& request,
                                        Flight& flight) {
    const bool commit = request.verdict == Verdict::commit;
    const bool delayed =
        std::any_of(destinations.begin(), destinations.end(), [](const Destination& to) { return to.delay.has_value(); });
    std::uint64_t bytes = delayed ? names_bytes : 0;
    std::uint64_t records = 16;
    for (std::size_t at = 0; at < halves.size(); ++at) {
        bytes += event_bytes_max;
        if (commit) bytes += halves[at].bytes.size() + (destinations[at].delay ? delay_bytes : 64);
        records += 4;
    }
    if (auto reserved = log_.reserve(bytes, records); !reserved) return reserved;
    for (std::size_t at = 0; at < halves.size(); ++at) {
        const LoadedHalf& half = halves[at];
        if (at > 0 && mutant_active("halves_decided_one_by_one")) break;
        std::uint64_t delivered_at = 0;
        if (commit) {
            const auto delivered = deliver(state, half, destinations[at]);
            HUFU_ASSERT(delivered);  // room was reserved, and what a half may look like was looked at when it came
            delivered_at = delivered->log_offset;
            flight.ticket = delivered->ticket;
            flight.bytes += half.bytes.size();
            flight.grown.push_back(destinations[at].delay ? state.timers.wheel() : destinations[at].queue);
        }
        if (mutant_active("verdict_not_durable") && flight.ticket != 0) continue;
        const auto event = append_verdict(state, half, request, delivered_at);
        HUFU_ASSERT(event);
        next_event_ = event->queue_offset + 1;
        ++events_since_book_;
        flight.ticket = event->ticket;
    }
    return {};
}

Result<Appended> Transactions::append_verdict(DispatchState& state, const LoadedHalf& half, const VerdictRequest& request,
                                              std::uint64_t delivered_at) {
    const EventKind kind = request.verdict == Verdict::commit ? EventKind::commit : EventKind::rollback;
    if (!request.peer || !request.reason.empty()) {
        HalfEvent event = event_of(half, kind, who_says(request), request.reason);
        event.delivered_at = delivered_at;
        return append_event(state, decisions_, event);
    }
    HalfEvent event;
    event.kind = kind;
    event.home = half.home;
    event.group_hash = transaction_hash(half.group);
    event.transaction_hash = transaction_hash(half.transaction);
    event.delivered_at = delivered_at;
    return append_short_event(state, decisions_, event, *request.peer, request.from_check);
}

void Transactions::apply(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then) {
    VerdictAnswer answer;
    const bool commit = request.verdict == Verdict::commit;
    answer.state = commit ? VerdictAnswer::State::committed : VerdictAnswer::State::rolled_back;
    std::vector<Destination> destinations;
    if (commit) {
        if (const std::string missing = address(state, halves, destinations); !missing.empty())
            return keep_undelivered(state, halves, request, missing, std::move(then));
        const bool delayed = std::any_of(destinations.begin(), destinations.end(),
                                         [](const Destination& to) { return to.delay.has_value(); });
        if (delayed && state.timers.book().size() + halves.size() > state.options.timers_max) {
            answer.refusal = {ResponseCode::system_busy,
                              "[OVERLOAD] the broker keeps " + std::to_string(state.timers.book().size()) +
                                  " delayed messages already; the transaction stays pending, try again later"};
            return then(state, answer);
        }
    }
    Flight flight;
    if (const auto appended = append_group(state, halves, destinations, request, flight); !appended) {
        answer.refusal = refusal_of(appended.error());
        return then(state, answer);
    }
    bool durable = false;
    const std::int64_t now_ms = wall_ms(state);
    flight.kind = commit ? EventKind::commit : EventKind::rollback;
    flight.hash = transaction_hash(halves.front().transaction);
    for (const LoadedHalf& half : halves) {
        const Topic* topic = state.find_topic(half.record.topic);
        durable = durable || topic == nullptr || topic->waits_for_disk.value_or(!state.options.answer_before_durable);
        forget_check(half.half);
        flight.before.emplace_back(half.half.home, not_asked(half.half));
        flight.decided.push_back(half.half.home);
        flight.pending_bytes -= static_cast<std::int64_t>(half.bytes.size());
        deciding_[half.half.home] = flight.ticket;
        book_.erase(half.half.home);
        finish_.observe(static_cast<double>(std::max<std::int64_t>(0, now_ms - half.home.stored_ms)) / 1000);
    }
    deciding_transactions_[flight.hash] = flight.ticket;
    decided_lately_.add(flight.hash);
    if (!durable || mutant_active("verdict_answered_before_durable")) {
        fly(std::move(flight));
        return then(state, answer);
    }
    flight.then = [answer, then = std::move(then)](DispatchState& later, const Refusal& lost) {
        VerdictAnswer told = answer;
        told.refusal = lost;
        then(later, told);
    };
    fly(std::move(flight));
}

Result<void> Transactions::change(DispatchState& state, std::span<const LoadedHalf> halves, EventKind kind, HalfState to,
                                  std::string_view by, std::string_view reason,
                                  std::function<void(DispatchState&, const Refusal&)> then) {
    if (auto reserved = log_.reserve(halves.size() * event_bytes_max, halves.size()); !reserved) return reserved;
    Flight flight;
    flight.kind = kind;
    for (const LoadedHalf& loaded : halves) {
        const auto event = append_event(state, decisions_, event_of(loaded, kind, by, reason));
        HUFU_ASSERT(event);  // room was reserved
        next_event_ = event->queue_offset + 1;
        ++events_since_book_;
        flight.ticket = event->ticket;
        forget_check(loaded.half);
        flight.before.emplace_back(loaded.half.home, not_asked(loaded.half));
        if (kind == EventKind::dismissed) {
            book_.erase(loaded.half.home);
            continue;
        }
        Half half = loaded.half;
        half.state = to;
        half.asked = half.unreachable = half.overdue = false;
        half.due = state.clock.steady_now();
        half.step = 0;
        if (kind == EventKind::resumed) half.checks = 0;
        book_.update(half);
        if (to == HalfState::pending) next_at_ = SteadyTime{};
    }
    flight.then = std::move(then);
    fly(std::move(flight));
    note_counts();
    return {};
}

void Transactions::keep_undelivered(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request,
                                    const std::string& topic, Then then) {
    VerdictAnswer answer;
    answer.state = VerdictAnswer::State::parked;
    if (halves.front().half.state == HalfState::undelivered) {
        answer.decided_before = true;
        return then(state, answer);
    }
    const std::string reason =
        "topic \"" + topic + "\" does not exist" + (request.reason.empty() ? std::string{} : "; " + request.reason);
    const auto parked = change(state, halves, EventKind::undelivered, HalfState::undelivered, who_says(request), reason,
                               [answer, then](DispatchState& later, const Refusal& lost) {
                                   VerdictAnswer told = answer;
                                   told.refusal = lost;
                                   then(later, told);
                               });
    if (!parked) {
        answer.refusal = refusal_of(parked.error());
        return then(state, answer);
    }
    parked_count_.add(halves.size());
    state.alarm("transaction \"" + std::string{halves.front().transaction} + "\" of producer group \"" +
                std::string{halves.front().group} + "\" was committed by " + who_says(request) + ", but topic \"" + topic +
                "\" does not exist: its message(s) are parked. Create the topic, then: hufu tx resume");
}

void Transactions::resume(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then) {
    VerdictAnswer answer;
    if (halves.front().half.state == HalfState::undelivered) {
        VerdictRequest again = request;
        again.verdict = Verdict::commit;
        return apply(state, halves, again, std::move(then));
    }
    if (halves.front().half.state == HalfState::conflict) {
        answer.state = VerdictAnswer::State::rolled_back;
        answer.refusal = {ResponseCode::illegal_operation,
                          "transaction \"" + std::string{halves.front().transaction} +
                              "\" was rolled back and then committed: nobody can be asked, decide it (commit or rollback)"};
        return then(state, answer);
    }
    const auto resumed = change(state, halves, EventKind::resumed, HalfState::pending, who_says(request), request.reason,
                                [answer, then](DispatchState& later, const Refusal& lost) {
                                    VerdictAnswer told = answer;
                                    told.refusal = lost;
                                    then(later, told);
                                });
    if (resumed) return;
    answer.refusal = refusal_of(resumed.error());
    then(state, answer);
}

}  // namespace hufu::broker
