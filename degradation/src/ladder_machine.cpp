// Taking in, giving back, and what time brings. Where messages go is decided in ladder_route.cpp, what came back is read in
// ladder_settle.cpp.
#include <hufu/degradation/ladder_machine.hpp>

#include <algorithm>
#include <map>
#include <utility>

#include <hufu/core/assert.hpp>

namespace hufu::degradation {
namespace {

std::size_t bytes_of(const Message& message) {
    std::size_t bytes = sizeof(Message) + message.body.size() + message.topic.size() + message.ordering_key.size();
    for (const auto& [name, value] : message.headers) {
        bytes += name.size() + value.size();
    }
    return bytes;
}

constexpr const char* behind_failed = "not sent: an earlier message of its key was not delivered";

PublishOutcome not_sent(ErrorCode code, std::string text) {
    return {.status = PublishStatus::not_sent, .error = Error{code, Disposition::retry, std::move(text)}};
}

}  // namespace

LadderMachine::LadderMachine(LadderOptions options, std::size_t brokers, std::vector<RungOptions> rungs, Random& random)
    : options_{std::move(options)} {
    HUFU_ASSERT(brokers > 0);
    for (std::size_t broker = 0; broker < brokers; ++broker) {
        breakers_.emplace_back(options_.breaker, random);
    }
    for (RungOptions& rung : rungs) {
        rungs_.emplace_back(std::move(rung), random);
    }
    to_broker_.resize(brokers);
    publishing_.resize(brokers);
    replaying_.resize(brokers);
    to_rung_.resize(rungs_.size());
    behind_.resize(rungs_.size());
    spilling_.resize(rungs_.size());
    figures_.spilled.resize(rungs_.size());
    shown_breakers_.resize(brokers, BreakerState::closed);
    shown_rungs_.resize(rungs_.size(), LadderRung::State::unchecked);
    shown_losses_.resize(rungs_.size());
}

LadderMachine::~LadderMachine() = default;

bool LadderMachine::has_room() const noexcept {
    return figures_.held < options_.held_messages_max && figures_.held_bytes < options_.held_bytes_max;
}

/// The lane of a key; without one, a new lane.
LadderMachine::Lane& LadderMachine::lane_of(std::string_view key, Loss need, LaneId& id) {
    id = last_lane_ + 1;
    if (!key.empty()) {
        id = by_key_.try_emplace(std::string{key}, id).first->second;
    }
    last_lane_ = std::max(last_lane_, id);
    const auto [lane, is_new] = lanes_.try_emplace(id);
    if (is_new) {
        lane->second.key = key;
        lane->second.need = need;
    }
    return lane->second;
}

void LadderMachine::accept(Ticket ticket, std::vector<Message> messages, SteadyTime now) {
    calls_.try_emplace(ticket, Call{.left = messages.size()});
    std::map<Loss, LaneId> unordered;  // lanes of this call
    std::string key;
    for (std::size_t index = 0; index < messages.size(); ++index) {
        Item item{.message = std::move(messages[index]), .ticket = ticket, .index = index, .accepted_at = now};
        const Message& message = item.message;
        item.bytes = bytes_of(message);
        const Loss need = need_of(options_, message.topic);
        if (options_.overload == LadderOptions::Overload::shed) {
            make_room(item.bytes);
        }
        key.clear();
        if (!message.ordering_key.empty()) {
            key.append(message.topic).append(1, '\0').append(message.ordering_key);
        }
        LaneId id = 0;
        const auto known = key.empty() ? unordered.find(need) : unordered.end();
        Lane& lane = known == unordered.end() ? lane_of(key, need, id) : lanes_.at(id = known->second);
        if (key.empty()) {
            unordered.emplace(need, id);
        }
        const bool room = has_room();
        ++figures_.accepted;
        ++figures_.held;
        figures_.held_bytes += item.bytes;
        if (closed_ || !room) {
            ++figures_.refused;
            complete(id, lane, std::move(item),
                     closed_ ? not_sent(ErrorCode::cancelled, "not sent: the publisher is closing")
                             : not_sent(ErrorCode::busy, "not sent: " + std::to_string(figures_.held - 1) +
                                                             " messages wait in memory already; send again later"));
        } else if (lane.failures > 0) {
            complete(id, lane, std::move(item), not_sent(ErrorCode::cancelled, behind_failed));
        } else {
            lane.items.push_back(std::move(item));
            go_on(id, lane);
        }
    }
}

/// Sheds those that have waited longest.
void LadderMachine::make_room(std::size_t bytes) {
    while (!waiting_.empty() &&
           (figures_.held + 1 > options_.held_messages_max || figures_.held_bytes + bytes > options_.held_bytes_max)) {
        const LaneId id = *waiting_.begin();
        Lane& lane = lanes_.at(id);
        figures_.shed += lane.items.size();
        actions_.notices.push_back({LadderNotice::Kind::shed, {}, lane.reason});
        fail_lane(id, lane, not_sent(ErrorCode::busy, "not sent: shed to make room for newer messages; " + lane.reason));
    }
}

/// `item` has left its lane. What is not confirmed bars its key until its call was reported.
void LadderMachine::complete(LaneId id, Lane& lane, Item item, PublishOutcome outcome) {
    --figures_.held;
    figures_.held_bytes -= item.bytes;
    Call& call = calls_.at(item.ticket);
    if (outcome.status != PublishStatus::confirmed && !lane.key.empty() &&
        std::find(call.failed.begin(), call.failed.end(), id) == call.failed.end()) {
        call.failed.push_back(id);
        ++lane.failures;
    }
    if (outcome.status == PublishStatus::not_sent && item.doubtful) {
        outcome.status = PublishStatus::in_doubt;
        outcome.error = Error{outcome.error.code(), Disposition::in_doubt, outcome.error.text()};
    }
    actions_.completed.push_back({item.ticket, item.index, std::move(outcome)});
    maybe_done_.push_back(id);
    if (--call.left == 0) {
        conclude(item.ticket);
    }
}

void LadderMachine::conclude(Ticket ticket) {
    const auto call = calls_.find(ticket);
    for (const LaneId id : call->second.failed) {
        --lanes_.at(id).failures;
        maybe_done_.push_back(id);
    }
    calls_.erase(call);
}

void LadderMachine::complete_front(LaneId id, Lane& lane, PublishOutcome outcome) {
    Item item = std::move(lane.items.front());
    lane.items.pop_front();
    lane.covered -= std::min<std::size_t>(lane.covered, 1);
    complete(id, lane, std::move(item), std::move(outcome));
}

/// The first message of the lane ends like this, and so do the others; with a key, those behind it are not sent.
void LadderMachine::fail_lane(LaneId id, Lane& lane, PublishOutcome outcome) {
    HUFU_ASSERT(lane.out == 0);
    waiting_.erase(id);
    lane.phase = Phase::idle;
    bool first = true;
    while (!lane.items.empty()) {
        complete_front(id, lane, first || lane.key.empty() ? outcome : not_sent(ErrorCode::cancelled, behind_failed));
        first = false;
    }
}

/// Nothing of the lane is under way: what is left of it goes on.
void LadderMachine::go_on(LaneId id, Lane& lane) {
    if (lane.phase == Phase::idle && lane.out == 0 && !lane.items.empty()) {
        lane.phase = Phase::ready;
        ready_.push_back(id);
    }
}

void LadderMachine::sweep() {
    for (const LaneId id : std::exchange(maybe_done_, {})) {
        const auto lane = lanes_.find(id);
        if (lane == lanes_.end() || !lane->second.items.empty() || lane->second.out > 0 || lane->second.failures > 0) {
            continue;
        }
        if (!lane->second.key.empty()) {
            by_key_.erase(lane->second.key);
        }
        lanes_.erase(lane);
    }
}

LadderActions LadderMachine::step(SteadyTime now) {
    if (!closed_) {
        watch_time(now);
        do {
            moved_ = false;
            while (!ready_.empty()) {
                const LaneId id = ready_.front();
                ready_.pop_front();
                if (const auto lane = lanes_.find(id); lane != lanes_.end() && lane->second.phase == Phase::ready) {
                    route(id, lane->second, now);
                }
            }
            ask_epochs(now);
            for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
                fill_publishes(broker, now);
            }
            for (std::size_t rung = 0; rung < rungs_.size(); ++rung) {
                fill_spills(rung, Phase::behind, now);
                fill_spills(rung, Phase::spill, now);
            }
        } while (moved_ || !ready_.empty());
        note_changes();
    }
    sweep();
    figures_.keys_waiting = waiting_.size();
    LadderActions actions = std::exchange(actions_, {});
    if (!closed_) {
        actions.tick_at = next_tick(now);
    }
    return actions;
}

void LadderMachine::watch_time(SteadyTime now) {
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        breakers_[broker].tick(oldest_unanswered(broker), now);
    }
    note_changes();
    give_up_late_flights(now);
    for (std::size_t rung = 0; rung < rungs_.size(); ++rung) {
        if (rungs_[rung].take_inspection(now)) {
            actions_.inspect.push_back(rung);
        }
    }
    expire(now);
    if (!waiting_.empty() && now >= wake_at_) {
        wake_waiting();
    }
    if (now >= round_at_ && !rungs_.empty()) {
        round_wanted_ = true;
    }
}

/// Those that have waited too long in memory end.
void LadderMachine::expire(SteadyTime now) {
    const std::set<LaneId> all = waiting_;
    for (const LaneId id : all) {
        Lane& lane = lanes_.at(id);
        if (now - lane.items.front().accepted_at >= options_.wait_max) {
            figures_.refused += lane.items.size();
            actions_.notices.push_back({LadderNotice::Kind::refused, {}, lane.reason});
            fail_lane(id, lane,
                      not_sent(ErrorCode::timeout, "nothing took it within " + std::to_string(options_.wait_max.count()) +
                                                       " ms: " + lane.reason));
        }
    }
}

void LadderMachine::wake_waiting() {
    for (const LaneId id : std::exchange(waiting_, {})) {
        Lane& lane = lanes_.at(id);
        lane.phase = Phase::idle;
        go_on(id, lane);
    }
}

/// What changed since it was told last. Whoever waits may have a way now.
void LadderMachine::note_changes() {
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        const BreakerState state = breakers_[broker].state();
        if (std::exchange(shown_breakers_[broker], state) != state) {
            actions_.notices.push_back(
                {LadderNotice::Kind::breaker, std::to_string(broker),
                 std::string{to_string(state)} +
                     (state == BreakerState::open ? ": " + std::string{breakers_[broker].reason()} : "")});
            wake_waiting();
        }
    }
    for (std::size_t number = 0; number < rungs_.size(); ++number) {
        const LadderRung& rung = rungs_[number];
        const std::optional<Loss> loss = rung.statement() ? std::optional{rung.statement()->loss} : std::nullopt;
        const bool same_state = std::exchange(shown_rungs_[number], rung.state()) == rung.state();
        const bool same_loss = std::exchange(shown_losses_[number], loss) == loss;
        if (same_state && same_loss) {
            continue;
        }
        if (loss) {
            actions_.notices.push_back({same_state ? LadderNotice::Kind::rung_changed : LadderNotice::Kind::rung_up,
                                        rung.options().name,
                                        "may lose " + std::string{to_string(*loss)} + " (" + rung.statement()->why + ")"});
            wake_waiting();
        } else {
            actions_.notices.push_back({LadderNotice::Kind::rung_away, rung.options().name, rung.trouble()});
        }
    }
}

std::optional<SteadyTime> LadderMachine::next_tick(SteadyTime now) const {
    std::optional<SteadyTime> next;
    const auto consider = [&](std::optional<SteadyTime> when) {
        if (when && (!next || *when < *next)) {
            next = when;
        }
    };
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        consider(breakers_[broker].next_tick(oldest_unanswered(broker)));
        if (breakers_[broker].state() == BreakerState::closed) {
            continue;
        }
        for (const auto& flight : publishing_[broker]) {
            if (!flight->given_up) {
                consider(flight->permit.sent_at + options_.spill_after);
            }
        }
        // Once that time has come the next live message probes, whenever it comes.
        const SteadyTime live_probe_at = breakers_[broker].since() + options_.live_probe_after;
        if (breakers_[broker].state() == BreakerState::half_open && live_probe_at > now) {
            consider(live_probe_at);
        }
    }
    for (std::size_t rung = 0; rung < rungs_.size(); ++rung) {
        consider(rungs_[rung].next_inspection());
        for (const auto& flight : spilling_[rung]) {
            if (!flight->given_up) {
                consider(flight->sent_at + rungs_[rung].options().silence_max);
            }
        }
        if (round_ && round_->pending.contains(rung)) {
            consider(round_->sent_at + rungs_[rung].options().silence_max);
        }
    }
    if (!waiting_.empty()) {
        consider(wake_at_);
        consider(lanes_.at(*waiting_.begin()).items.front().accepted_at + options_.wait_max);
    }
    if (!round_ && !rungs_.empty()) {
        consider(round_at_);
    }
    return next;
}

void LadderMachine::inspected(std::size_t rung, const Result<LossStatement>& statement, SteadyTime now) {
    rungs_[rung].inspected(statement, now);
}

void LadderMachine::sized(std::size_t rung, const BufferSize& size) { rungs_[rung].sized(size); }

void LadderMachine::close() {
    closed_ = true;
    for (auto& [id, lane] : lanes_) {
        for (std::size_t item = 0; item < lane.out; ++item) {
            lane.items[item].doubtful = true;
        }
        lane.out = 0;
        const auto ended = not_sent(ErrorCode::cancelled, "the publisher is closing");
        while (!lane.items.empty()) {
            complete_front(id, lane, ended);
        }
    }
    for (auto& flights : publishing_) {
        for (const auto& flight : flights) {
            flight->given_up = true;
        }
    }
    for (auto& flights : spilling_) {
        for (const auto& flight : flights) {
            flight->given_up = true;
        }
    }
    waiting_.clear();
}

std::optional<std::pair<std::size_t, BreakerPermit>> LadderMachine::admit_replay(SteadyTime now) {
    for (std::size_t broker = 0; broker < breakers_.size(); ++broker) {
        if (const auto permit = breakers_[broker].admit(now)) {
            replaying_[broker].insert(permit->sent_at);
            return std::pair{broker, *permit};
        }
    }
    return {};
}

void LadderMachine::replayed(std::size_t broker, const BreakerPermit& permit, std::span<const PublishOutcome> outcomes,
                             SteadyTime now) {
    auto& sent = replaying_[broker];
    if (const auto found = sent.find(permit.sent_at); found != sent.end()) {
        sent.erase(found);
    }
    if (const auto answer = answer_of(outcomes)) {
        breakers_[broker].record(permit, *answer, now);
    } else {
        breakers_[broker].release(permit);
    }
}

bool LadderMachine::degraded() const noexcept {
    return breakers_.front().state() != BreakerState::closed ||
           std::any_of(rungs_.begin(), rungs_.end(), [](const LadderRung& rung) { return rung.holds_something(); });
}

}  // namespace hufu::degradation
