// What came back from brokers and buffers, and what did not.
#include <hufu/degradation/ladder_machine.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/assert.hpp>

namespace hufu::degradation {
namespace {

using Status = SpillOutcome::Status;

/// Not the broker's health: the caller must change something, and a buffer would only hide it.
bool is_callers(const PublishOutcome& outcome) {
    if (outcome.status != PublishStatus::not_sent) {
        return outcome.status == PublishStatus::rejected;
    }
    switch (outcome.error.code()) {
        case ErrorCode::not_found:
        case ErrorCode::permission:
        case ErrorCode::unsupported:
        case ErrorCode::invalid_argument:
        case ErrorCode::too_large:
        case ErrorCode::wrong_version: return true;
        default: return false;
    }
}

template <class Flight>
void forget(std::vector<std::shared_ptr<Flight>>& flights, const std::shared_ptr<Flight>& flight) {
    const auto found = std::find(flights.begin(), flights.end(), flight);
    HUFU_ASSERT(found != flights.end());
    flights.erase(found);
}

}  // namespace

std::optional<Answer> answer_of(std::span<const PublishOutcome> outcomes) {
    std::optional<Answer> worst;
    for (const PublishOutcome& outcome : outcomes) {
        Answer answer = Answer::answered;
        if (outcome.status != PublishStatus::confirmed && !is_callers(outcome)) {
            const ErrorCode code = outcome.error.code();
            if (code == ErrorCode::cancelled) {
                continue;  // behind another one that failed, or the publisher closes
            }
            answer = code == ErrorCode::unavailable || code == ErrorCode::io ? Answer::connection_failed : Answer::failed;
        }
        worst = std::max(worst.value_or(Answer::answered), answer);
    }
    return worst;
}

void LadderMachine::published(const std::shared_ptr<PublishFlight>& flight, SteadyTime now) {
    const std::size_t broker = flight->broker;
    forget(publishing_[broker], flight);
    if (closed_) {
        return;
    }
    if (const auto answer = answer_of(flight->outcomes)) {
        breakers_[broker].record(flight->permit, *answer, now);
    } else {
        breakers_[broker].release(flight->permit);
    }
    if (flight->given_up) {
        return;
    }
    std::size_t first = 0;
    for (const LadderPart part : flight->parts) {
        settle(*flight, part, first, now);
        first += part.count;
    }
}

void LadderMachine::settle(PublishFlight& flight, LadderPart part, std::size_t first, SteadyTime now) {
    Lane& lane = lanes_.at(part.lane);
    HUFU_ASSERT(lane.out == part.count && lane.items.size() >= part.count);
    lane.out = 0;
    lane.phase = Phase::idle;
    std::deque<Item> kept;  // to be tried elsewhere
    std::size_t at = first;
    for (; at < first + part.count; ++at) {
        PublishOutcome& outcome = flight.outcomes[at];
        if (outcome.status == PublishStatus::confirmed) {
            ++figures_.confirmed;
            complete_front(part.lane, lane, std::move(outcome));
            continue;
        }
        Item& item = lane.items.front();
        item.doubtful = item.doubtful || outcome.status == PublishStatus::in_doubt;
        if (is_callers(outcome)) {
            figures_.rejected += outcome.status == PublishStatus::rejected ? 1 : 0;
            if (!lane.key.empty()) {
                return fail_lane(part.lane, lane, std::move(outcome));
            }
            complete_front(part.lane, lane, std::move(outcome));
            continue;
        }
        lane.reason = "broker " + std::to_string(flight.broker) + ": " + outcome.error.text();
        if (!lane.key.empty()) {
            break;  // what is behind it keeps its place
        }
        item.message = std::move(flight.messages[at]);
        kept.push_back(std::move(item));
        lane.items.pop_front();
    }
    for (std::size_t rest = at; rest < first + part.count; ++rest) {
        Item& item = lane.items[rest - at];
        item.message = std::move(flight.messages[rest]);
        item.doubtful = item.doubtful || flight.outcomes[rest].status == PublishStatus::in_doubt;
    }
    const bool failed = !kept.empty() || at < first + part.count;
    lane.items.insert(lane.items.begin(), std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end()));
    if (failed) {
        to_broker(part.lane, lane, flight.broker + 1, now);
    } else {
        go_on(part.lane, lane);
    }
}

void LadderMachine::spilled(const std::shared_ptr<SpillFlight>& flight, SteadyTime now) {
    forget(spilling_[flight->rung], flight);
    if (closed_) {
        return;
    }
    LadderRung& rung = rungs_[flight->rung];
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    for (std::size_t index = 0; index < flight->outcomes.size(); ++index) {
        const SpillOutcome& outcome = flight->outcomes[index];
        if (outcome.status == Status::spilled) {
            ++messages;
            bytes += flight->messages[index].body.size();
        } else if (outcome.status != Status::not_buffered && !flight->given_up) {
            rung.not_spilled(outcome, now);
        }
    }
    if (messages > 0) {
        rung.spilled(messages, bytes);
        figures_.spilled[flight->rung] += messages;
    }
    if (flight->given_up) {
        return;
    }
    std::size_t first = 0;
    for (const LadderPart part : flight->parts) {
        settle(*flight, part, first, now);
        first += part.count;
    }
}

void LadderMachine::settle(SpillFlight& flight, LadderPart part, std::size_t first, SteadyTime now) {
    Lane& lane = lanes_.at(part.lane);
    HUFU_ASSERT(lane.out == part.count && lane.items.size() >= part.count);
    lane.out = 0;
    lane.phase = Phase::idle;
    const std::string where = "buffer:" + rungs_[flight.rung].options().name;
    std::deque<Item> kept;
    std::size_t at = first;
    std::optional<Status> failure;
    for (; at < first + part.count; ++at) {
        const SpillOutcome& outcome = flight.outcomes[at];
        if (outcome.status == Status::spilled) {
            complete_front(part.lane, lane, {.status = PublishStatus::confirmed, .broker_id = where});
            continue;
        }
        if (!failure) {
            failure = outcome.status;
            if (outcome.status != Status::not_buffered) {
                lane.reason = rungs_[flight.rung].options().name + ": " + outcome.error.text();
            }
        }
        Item& item = lane.items.front();
        item.message = std::move(flight.messages[at]);
        item.doubtful = item.doubtful || outcome.status == Status::in_doubt;
        kept.push_back(std::move(item));
        lane.items.pop_front();
    }
    lane.items.insert(lane.items.begin(), std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end()));
    if (!failure) {
        go_on(part.lane, lane);
    } else if (*failure == Status::not_buffered && !lane.key.empty()) {
        lane.unasked = flight.rung;
        pass_barriers(part.lane, lane, now);
    } else {
        to_rung(part.lane, lane, flight.rung + 1, now);
    }
}

/// Nobody waits for the answer any more: the messages go elsewhere, under their ids.
void LadderMachine::give_up(PublishFlight& flight, SteadyTime now) {
    flight.given_up = true;
    std::size_t at = 0;
    for (const LadderPart part : flight.parts) {
        Lane& lane = lanes_.at(part.lane);
        lane.out = 0;
        for (std::size_t item = 0; item < part.count; ++item) {
            lane.items[item].message = flight.messages[at++];  // a copy: the broker's client still reads its own
            lane.items[item].doubtful = true;
        }
        lane.reason = "broker " + std::to_string(flight.broker) + " has not answered";
        to_broker(part.lane, lane, flight.broker + 1, now);
    }
}

void LadderMachine::give_up(SpillFlight& flight, SteadyTime now) {
    flight.given_up = true;
    std::size_t at = 0;
    for (const LadderPart part : flight.parts) {
        Lane& lane = lanes_.at(part.lane);
        lane.out = 0;
        for (std::size_t item = 0; item < part.count; ++item) {
            lane.items[item].message = flight.messages[at++];
            lane.items[item].doubtful = true;
        }
        lane.reason = rungs_[flight.rung].options().name + " has not answered";
        to_rung(part.lane, lane, flight.rung + 1, now);
    }
}

void LadderMachine::give_up_late_flights(SteadyTime now) {
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        if (breakers_[broker].state() == BreakerState::closed) {
            continue;
        }
        for (const auto& flight : publishing_[broker]) {
            if (!flight->given_up && now - flight->permit.sent_at >= options_.spill_after) {
                give_up(*flight, now);
            }
        }
    }
    for (std::size_t number = 0; number < rungs_.size(); ++number) {
        LadderRung& rung = rungs_[number];
        const auto is_late = [&](SteadyTime sent_at) { return now - sent_at >= rung.options().silence_max; };
        if (std::any_of(spilling_[number].begin(), spilling_[number].end(),
                        [&](const auto& flight) { return !flight->given_up && is_late(flight->sent_at); })) {
            rung.keeps_silent(now);
            for (const auto& flight : spilling_[number]) {
                if (!flight->given_up) {
                    give_up(*flight, now);
                }
            }
        }
        if (round_ && round_->pending.contains(number) && is_late(round_->sent_at)) {
            rung.keeps_silent(now);
            round_->pending.erase(number);
            if (round_->pending.empty()) {
                end_round(now);
            }
        }
    }
}

std::optional<SteadyTime> LadderMachine::oldest_unanswered(std::size_t broker) const {
    std::optional<SteadyTime> oldest;
    for (const auto& flight : publishing_[broker]) {
        if (!flight->given_up && (!oldest || flight->permit.sent_at < *oldest)) {
            oldest = flight->permit.sent_at;
        }
    }
    const auto& replays = replaying_[broker];
    if (!replays.empty() && (!oldest || *replays.begin() < *oldest)) {
        oldest = *replays.begin();
    }
    return oldest;
}

}  // namespace hufu::degradation
