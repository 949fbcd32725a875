// Where the messages of a lane go.
#include <hufu/degradation/ladder_machine.hpp>

#include <algorithm>
#include <tuple>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::degradation {
namespace {

/// How often lanes that nothing takes look again.
constexpr std::chrono::milliseconds wake_every{100};
/// How old the last epoch may become while nothing is published.
constexpr std::chrono::milliseconds epoch_age_max{200};

template <class Flights>
std::size_t under_way(const Flights& flights) {
    return static_cast<std::size_t>(
        std::count_if(flights.begin(), flights.end(), [](const auto& flight) { return !flight->given_up; }));
}

}  // namespace

void LadderMachine::enqueue(LaneId id, Lane& lane, Phase phase, std::size_t target) {
    lane.phase = phase;
    lane.target = target;
    moved_ = true;
    switch (phase) {
        case Phase::broker: to_broker_[target].push_back(id); break;
        case Phase::spill: to_rung_[target].push_back(id); break;
        case Phase::behind: behind_[target].push_back(id); break;
        case Phase::epochs: wants_epochs_.push_back(id); break;
        default: HUFU_ASSERT(false);
    }
}

void LadderMachine::route(LaneId id, Lane& lane, SteadyTime now) {
    lane.unasked = 0;
    if (lane.key.empty() || rungs_.empty() || mutant_active("newer_message_overtakes_buffer")) {
        lane.covered = lane.items.size();
        to_broker(id, lane, 0, now);
    } else {
        enqueue(id, lane, Phase::epochs, 0);
    }
}

/// One round of reads at a time serves all that came before it began.
void LadderMachine::ask_epochs(SteadyTime now) {
    if (round_ || (wants_epochs_.empty() && !round_wanted_)) {
        return;
    }
    round_wanted_ = false;
    round_at_ = now + epoch_age_max;
    round_.emplace(Round{.number = ++rounds_, .lanes = std::exchange(wants_epochs_, {}), .sent_at = now});
    for (const LaneId id : round_->lanes) {
        if (const auto lane = lanes_.find(id); lane != lanes_.end()) {
            lane->second.covered = lane->second.items.size();
        }
    }
    for (std::size_t rung = 0; rung < rungs_.size(); ++rung) {
        if (rungs_[rung].answers()) {
            round_->pending.insert(rung);
            actions_.read_epochs.push_back({rung, round_->number});
        }
    }
    if (round_->pending.empty()) {
        end_round(now);
    }
}

void LadderMachine::epoch_read(LadderActions::EpochRead read, const Result<std::uint64_t>& epoch, SteadyTime now) {
    // An answer that comes after its round is too old to tell of what was buffered since.
    if (closed_ || !round_ || round_->number != read.round || round_->pending.erase(read.rung) == 0) {
        return;
    }
    rungs_[read.rung].epoch_read(epoch, now);
    if (round_->pending.empty()) {
        end_round(now);
    }
}

void LadderMachine::end_round(SteadyTime now) {
    const Round round = std::move(*round_);
    round_.reset();
    for (const LaneId id : round.lanes) {
        const auto lane = lanes_.find(id);
        if (lane != lanes_.end() && lane->second.phase == Phase::epochs) {
            lane->second.unasked = rungs_.size();
            pass_barriers(id, lane->second, now);
        }
    }
}

/// From the last rung to the one before the lane's way: what of the key waits there, the lane goes behind.
void LadderMachine::pass_barriers(LaneId id, Lane& lane, SteadyTime now) {
    const bool direct = broker_for(0, now).has_value();
    const auto target = direct ? std::optional<std::size_t>{} : rung_for(lane.need, 0, now);
    const std::size_t lowest = target ? *target + 1 : 0;
    for (; lane.unasked > lowest; --lane.unasked) {
        const std::size_t rung = lane.unasked - 1;
        if (!rungs_[rung].may_hold(options_.when_silent)) {
            continue;
        }
        if (rungs_[rung].takes(lane.need, now)) {
            return enqueue(id, lane, Phase::behind, rung);
        }
        // It may hold the key and takes nothing now: the lane goes to a later rung.
        lane.reason = rungs_[rung].options().name + " may hold earlier messages of the key and is " +
                      rungs_[rung].describe(lane.need, now);
        return to_rung(id, lane, rung + 1, now);
    }
    if (direct) {
        to_broker(id, lane, 0, now);
    } else {
        to_rung(id, lane, 0, now);
    }
}

/// Half open, the replayer has the first word.
bool LadderMachine::takes_live(std::size_t broker, SteadyTime now) const {
    const CircuitBreaker& breaker = breakers_[broker];
    if (breaker.state() == BreakerState::closed) {
        return true;
    }
    const bool nothing_to_replay =
        std::none_of(rungs_.begin(), rungs_.end(), [](const LadderRung& rung) { return rung.holds_something(); });
    return breaker.state() == BreakerState::half_open && breaker.admits(now) &&
           (nothing_to_replay || now - breaker.since() >= options_.live_probe_after);
}

std::optional<std::size_t> LadderMachine::broker_for(std::size_t first, SteadyTime now) const {
    for (std::size_t broker = first; broker < breakers_.size(); ++broker) {
        if (takes_live(broker, now)) {
            return broker;
        }
    }
    return {};
}

std::optional<std::size_t> LadderMachine::rung_for(Loss need, std::size_t first, SteadyTime now) const {
    for (std::size_t rung = first; rung < rungs_.size(); ++rung) {
        if (rungs_[rung].takes(need, now)) {
            return rung;
        }
    }
    return {};
}

void LadderMachine::to_broker(LaneId id, Lane& lane, std::size_t first, SteadyTime now) {
    if (const auto broker = broker_for(first, now)) {
        enqueue(id, lane, Phase::broker, *broker);
    } else {
        to_rung(id, lane, 0, now);
    }
}

void LadderMachine::to_rung(LaneId id, Lane& lane, std::size_t first, SteadyTime now) {
    if (const auto rung = rung_for(lane.need, first, now)) {
        enqueue(id, lane, Phase::spill, *rung);
    } else {
        nowhere(id, lane, now);
    }
}

void LadderMachine::nowhere(LaneId id, Lane& lane, SteadyTime now) {
    std::string why = lane.reason.empty() ? "" : lane.reason + "; ";
    lane.reason = why + describe_way(lane.need, now);
    if (options_.overload == LadderOptions::Overload::error) {
        figures_.refused += lane.items.size();
        actions_.notices.push_back({LadderNotice::Kind::refused, {}, lane.reason});
        fail_lane(id, lane,
                  {.status = PublishStatus::not_sent,
                   .error = Error{ErrorCode::unavailable, Disposition::retry, "nothing takes it now: " + lane.reason}});
        return;
    }
    if (waiting_.empty()) {
        wake_at_ = now + wake_every;
    }
    lane.phase = Phase::waiting;
    waiting_.insert(id);
}

std::string LadderMachine::describe_way(Loss need, SteadyTime now) const {
    if (const auto broker = broker_for(0, now)) {
        return "broker " + std::to_string(*broker);
    }
    if (const auto rung = rung_for(need, 0, now)) {
        return rungs_[*rung].options().name;
    }
    std::string text = "nowhere: ";
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        text += (broker > 0 ? "; " : "") + std::string{"broker "} + std::to_string(broker) + ": " +
                std::string{breakers_[broker].reason()};
    }
    for (const LadderRung& rung : rungs_) {
        text += "; " + rung.options().name + ": " + rung.describe(need, now);
    }
    return text;
}

/// The lane's next messages join a batch.
void LadderMachine::load(LaneId id, Lane& lane, std::vector<Message>& messages, std::vector<LadderPart>& parts,
                         std::size_t most) {
    lane.out = std::min({most - messages.size(), lane.covered, lane.items.size()});
    for (std::size_t item = 0; item < lane.out; ++item) {
        messages.push_back(std::move(lane.items[item].message));
    }
    parts.push_back({id, lane.out});
}

void LadderMachine::fill_publishes(std::size_t broker, SteadyTime now) {
    auto& queue = to_broker_[broker];
    std::size_t flights = under_way(publishing_[broker]);
    const auto next = [&]() -> std::pair<LaneId, Lane*> {
        while (!queue.empty()) {
            const LaneId id = queue.front();
            queue.pop_front();
            const auto lane = lanes_.find(id);
            if (lane != lanes_.end() && lane->second.phase == Phase::broker && lane->second.target == broker &&
                lane->second.out == 0) {
                return {id, &lane->second};
            }
        }
        return {0, nullptr};
    };
    while (!queue.empty()) {
        if (!takes_live(broker, now)) {
            for (auto [id, lane] = next(); lane != nullptr; std::tie(id, lane) = next()) {
                to_broker(id, *lane, broker + 1, now);
            }
            return;
        }
        if (flights >= options_.publishes_max) {
            return;
        }
        auto [id, lane] = next();
        if (lane == nullptr) {
            return;
        }
        auto flight = std::make_shared<PublishFlight>();
        flight->broker = broker;
        flight->permit = breakers_[broker].admit(now).value();
        const std::size_t most = flight->permit.probe ? 1 : options_.batch_messages;
        load(id, *lane, flight->messages, flight->parts, most);
        while (flight->messages.size() < most) {
            std::tie(id, lane) = next();
            if (lane == nullptr) {
                break;
            }
            load(id, *lane, flight->messages, flight->parts, most);
        }
        flight->outcomes.resize(flight->messages.size());
        ++flights;
        publishing_[broker].push_back(flight);
        actions_.publish.push_back(std::move(flight));
    }
}

void LadderMachine::fill_spills(std::size_t rung, Phase phase, SteadyTime now) {
    auto& queue = phase == Phase::spill ? to_rung_[rung] : behind_[rung];
    std::size_t flights = under_way(spilling_[rung]);
    std::shared_ptr<SpillFlight> flight;
    const auto launch = [&] {
        flight->outcomes.resize(flight->messages.size());
        ++flights;
        spilling_[rung].push_back(flight);
        actions_.spill.push_back(std::exchange(flight, nullptr));
    };
    while (!queue.empty() && (flight != nullptr || flights < options_.spills_max)) {
        const LaneId id = queue.front();
        queue.pop_front();
        const auto found = lanes_.find(id);
        if (found == lanes_.end() || found->second.phase != phase || found->second.target != rung || found->second.out > 0) {
            continue;
        }
        Lane& lane = found->second;
        if (!rungs_[rung].takes(lane.need, now)) {
            lane.reason = rungs_[rung].options().name + ": " + rungs_[rung].describe(lane.need, now);
            to_rung(id, lane, rung + 1, now);
            continue;
        }
        if (flight == nullptr) {
            flight = std::make_shared<SpillFlight>();
            flight->rung = rung;
            flight->when = phase == Phase::spill ? SpillWhen::always : SpillWhen::if_key_is_buffered;
            flight->sent_at = now;
        }
        load(id, lane, flight->messages, flight->parts, options_.batch_messages);
        if (flight->messages.size() >= options_.batch_messages) {
            launch();
        }
    }
    if (flight != nullptr) {
        launch();
    }
}

}  // namespace hufu::degradation
