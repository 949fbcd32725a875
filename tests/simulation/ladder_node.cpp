#include "ladder_node.hpp"

#include <algorithm>
#include <utility>

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::DrainMachine;
using degradation::Entry;
using degradation::LadderRung;

namespace {

constexpr auto size_every = 200ms;
constexpr auto drain_pause = 30ms;
constexpr std::size_t drain_batch_max = 16;
/// Longer than a broker keeps a client waiting, and every rung after it.
constexpr auto call_takes_at_most = 2500ms;
/// For so long after a failed sync a refusal is the journal's.
constexpr auto disk_excuses = 1500ms;
/// Whoever stood still takes everybody for silent, until it has asked again.
constexpr auto stands_still_excuses = 300ms;

}  // namespace

LadderNode::LadderNode(std::string name, EventQueue& events, LadderBroker& broker, StreamServer& server,
                       LadderLedger& ledger, degradation::LadderOptions options, bool good_network)
    : name_{std::move(name)},
      events_{events},
      broker_{broker},
      server_{server},
      ledger_{ledger},
      options_{std::move(options)},
      good_network_{good_network} {}

void LadderNode::start(bool retry_parked) {
    process_.begin();
    journal_.open();
    // A reader's name is its own in every life.
    streams_.push_back(std::make_unique<StreamLink>(events_, process_, server_,
                                                    name_ + "-" + std::to_string(process_.life()), good_network_));
    links_ = {streams_.back().get(), &journal_};
    const RetrySchedule look_after = RetrySchedule::capped(20ms, 150ms).jitter(0.2);
    machine_ = std::make_unique<degradation::LadderMachine>(
        options_, 1,
        std::vector<degradation::RungOptions>{
            {.name = "redis", .silence_max = 150ms, .look_after = look_after},
            {.name = "journal", .silence_max = 150ms, .look_after = look_after, .ask_again_after = 50ms}},
        events_.random());
    drains_ = {};
    turn_planned_ = false;
    tick_at_.reset();
    turn_soon();
    for (std::size_t rung = 0; rung < rungs; ++rung) {
        process_.after(size_every, [this, rung] { look_at_size(rung); });
        drain_later(rung, drain_pause);
    }
    if (retry_parked) unpark_journal();
}

/// Again, until the disk has it.
void LadderNode::unpark_journal() {
    journal_.unpark([this](const auto& unparked) {
        if (!unparked) unpark_journal();
    });
}

void LadderNode::kill(bool power_cut) {
    process_.end();
    journal_.close();
    if (power_cut) {
        disk_.crash();
    } else {
        disk_.kill();
    }
    machine_.reset();
    for (auto& [ticket, call] : std::exchange(calls_, {})) call.ended({});
}

void LadderNode::fail_power_in_next_write() {
    journal_.fail_power_in_next_write([this] {
        events_.note(name_, ": the power fails in the middle of a write");
        kill(true);
    });
}

void LadderNode::stand_still(EventQueue::Duration how_long) {
    events_.note(name_, " stands still");
    still_until_ = events_.now() + how_long;
    process_.stand_still(how_long);
}

void LadderNode::heal() {
    disk_.heal();
    journal_.fail_power_in_next_write(nullptr);
}

bool LadderNode::takes_calls() const {
    return is_up() && std::none_of(machine_->rungs().begin(), machine_->rungs().end(),
                                   [](const LadderRung& rung) { return rung.state() == LadderRung::State::unchecked; });
}

void LadderNode::publish(std::vector<Message> messages, Ended ended) {
    const auto ticket = ++last_ticket_;
    calls_.emplace(ticket, Call{.outcomes = std::vector<PublishOutcome>(messages.size()),
                                .left = messages.size(),
                                .since = events_.now(),
                                .ended = std::move(ended)});
    machine_->accept(ticket, std::move(messages), events_.now());
    turn_soon();
}

// The thread that decides.

void LadderNode::turn_soon() {
    if (!std::exchange(turn_planned_, true)) process_.after(10us, [this] { turn(); });
}

void LadderNode::turn() {
    turn_planned_ = false;
    const auto actions = machine_->step(events_.now());
    obey(actions);
    if (!actions.tick_at) return;
    if (*actions.tick_at <= events_.now()) ledger_.complain(name_ + " would turn in circles: its next step was due before");
    const SteadyTime at = std::max(*actions.tick_at, events_.now() + 100us);
    if (tick_at_ && *tick_at_ > events_.now() && *tick_at_ <= at) return;
    tick_at_ = at;
    process_.after(at - events_.now(), [this] { turn_soon(); });
}

void LadderNode::obey(const degradation::LadderActions& actions) {
    for (const auto& notice : actions.notices) events_.note(name_, ": ", notice.name, " ", notice.text);
    for (const auto& completion : actions.completed) complete(completion);
    for (const std::size_t rung : actions.inspect) {
        links_[rung]->inspect([this, rung](const auto& statement) {
            machine_->inspected(rung, statement, events_.now());
            turn_soon();
        });
    }
    for (const auto& flight : actions.publish) {
        broker_.publish(process_, flight->messages, [this, flight](std::vector<PublishOutcome> outcomes) {
            flight->outcomes = std::move(outcomes);
            machine_->published(flight, events_.now());
            turn_soon();
        });
    }
    for (const auto& flight : actions.spill) {
        links_[flight->rung]->spill(flight->messages, flight->when, [this, flight](BufferLink::Outcomes outcomes) {
            flight->outcomes = std::move(outcomes);
            machine_->spilled(flight, events_.now());
            turn_soon();
        });
    }
    for (const auto read : actions.read_epochs) {
        links_[read.rung]->epoch([this, read](const auto& epoch) {
            machine_->epoch_read(read, epoch, events_.now());
            turn_soon();
        });
    }
}

void LadderNode::complete(const degradation::LadderCompletion& completion) {
    const auto found = calls_.find(completion.ticket);
    Call& call = found->second;
    call.outcomes[completion.index] = completion.outcome;
    if (--call.left > 0) return;
    const Call ended = std::move(call);
    calls_.erase(found);
    judge_call(ended);
    ended.ended(ended.outcomes);
}

/// The outage is the ladder's business, not its callers'.
void LadderNode::judge_call(const Call& call) {
    if (call.since < still_until_ + stands_still_excuses) return;
    if (events_.now() - call.since > call_takes_at_most) {
        ledger_.complain(
            name_ + ": a call took " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(events_.now() - call.since).count()) +
            " ms");
    }
    const bool disk_failed = journal_.failed_at() + disk_excuses > call.since;
    for (const auto& outcome : call.outcomes) {
        if (outcome.status == PublishStatus::confirmed || disk_failed) continue;
        // What the broker rejects is its caller's, and what stands behind it in the call.
        if (outcome.status == PublishStatus::rejected || outcome.error.code() == ErrorCode::cancelled) continue;
        ledger_.complain(name_ + ": a message was given back though the journal's disk is well: " + outcome.error.text());
    }
}

void LadderNode::look_at_size(std::size_t rung) {
    process_.after(size_every, [this, rung] { look_at_size(rung); });
    if (machine_->rungs()[rung].state() != LadderRung::State::up) return;
    links_[rung]->size([this, rung](const auto& size) {
        if (size) machine_->sized(rung, *size);
    });
}

// The threads that replay.

void LadderNode::drain_later(std::size_t rung, EventQueue::Duration wait) {
    process_.after(wait, [this, rung] { drain(rung); });
}

void LadderNode::drain(std::size_t rung) {
    const LadderRung& from = machine_->rungs()[rung];
    if (from.state() != LadderRung::State::up || !from.holds_something() || !machine_->breakers()[0].admits(events_.now())) {
        return drain_later(rung, drain_pause);
    }
    links_[rung]->read(drains_[rung].batch, [this, rung](const Result<std::vector<Entry>>& read) {
        if (!read || read->empty()) return drain_later(rung, drain_pause);
        look_before_draining(rung, *read);
    });
}

/// What an earlier rung holds of the keys, and what was set aside here.
void LadderNode::look_before_draining(std::size_t rung, std::vector<Entry> entries) {
    const auto give_up = [this, rung] { links_[rung]->release([this, rung] { drain_later(rung, drain_pause); }); };
    const auto with_held = [this, rung, give_up, entries](const Result<std::vector<bool>>& held) {
        if (!held) return give_up();
        if (!drains_[rung].some_parked) return publish_drained(rung, entries, *held, {});
        links_[rung]->parked([=, this, held = *held](const Result<std::vector<Message>>& parked) {
            if (!parked) return give_up();
            std::set<ConsumerKey> keys;
            for (const Message& message : *parked) {
                if (!message.ordering_key.empty()) keys.insert({message.topic, message.ordering_key});
            }
            drains_[rung].some_parked = !keys.empty();
            publish_drained(rung, entries, held, std::move(keys));
        });
    };
    if (rung == 0) return with_held(std::vector<bool>(entries.size(), false));
    std::vector<ConsumerKey> keys;
    for (const Entry& entry : entries) keys.push_back({entry.message.topic, entry.message.ordering_key});
    links_[0]->holds(std::move(keys), with_held);
}

void LadderNode::publish_drained(std::size_t rung, std::vector<Entry> entries, const std::vector<bool>& held,
                                 std::set<ConsumerKey> parked) {
    const auto messages = drains_[rung].machine.take(std::move(entries), held, std::move(parked));
    const auto not_sent = [&] {
        return std::vector<PublishOutcome>(messages.size(), PublishOutcome{.status = PublishStatus::not_sent});
    };
    if (messages.empty()) return settle(rung, {});
    const auto admitted = machine_->admit_replay(events_.now());
    if (!admitted) return settle(rung, not_sent());
    broker_.publish(process_, {messages.begin(), messages.end()},
                    [this, rung, permit = admitted->second](std::vector<PublishOutcome> outcomes) {
                        machine_->replayed(0, permit, outcomes, events_.now());
                        turn_soon();
                        settle(rung, std::move(outcomes));
                    });
}

void LadderNode::settle(std::size_t rung, std::vector<PublishOutcome> outcomes) {
    auto settled = std::make_shared<DrainMachine::Settled>(drains_[rung].machine.settle(outcomes));
    if (!settled->park.empty()) drains_[rung].some_parked = true;
    park(rung, std::move(settled), 0);
}

/// One after another; then what was confirmed is trimmed.
void LadderNode::park(std::size_t rung, std::shared_ptr<DrainMachine::Settled> settled, std::size_t next) {
    if (next < settled->park.size()) {
        const auto& [entry, reason] = settled->park[next];
        links_[rung]->park({entry}, reason, [this, rung, settled, next](const auto& parked) {
            if (!parked) return end_drain(rung, *settled, false);
            park(rung, settled, next + 1);
        });
        return;
    }
    if (settled->trim.empty()) return end_drain(rung, *settled, true);
    links_[rung]->trim(settled->trim, [this, rung, settled](const auto& trimmed) {
        end_drain(rung, *settled, static_cast<bool>(trimmed));
    });
}

void LadderNode::end_drain(std::size_t rung, const DrainMachine::Settled& settled, bool kept) {
    auto& batch = drains_[rung].batch;
    batch = settled.confirmed > 0 ? std::min(batch * 2, drain_batch_max) : 1;
    const EventQueue::Duration wait = settled.confirmed > 0 ? EventQueue::Duration{100us} : drain_pause;
    if (!settled.again && kept) return drain_later(rung, 100us);
    links_[rung]->release([this, rung, wait] { drain_later(rung, wait); });
}

}  // namespace hufu::simulation
