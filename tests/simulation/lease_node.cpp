#include "lease_node.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using idempotency::EffectResult;
using idempotency::LeaseAction;
using idempotency::LeaseKept;
using idempotency::LeaseMachine;
using idempotency::LeaseOutcome;
using idempotency::LeaseRequest;
using idempotency::LeaseSeen;
using idempotency::LeaseToken;

void LeaseNode::start() {
    up_ = true;
    ++life_;
    later(lease / 6, lease / 6, [this] { renew_due(); });
}

void LeaseNode::kill() {
    up_ = false;
    ++life_;
    stopped_until_ = {};
    for (const auto& attempt : running_) {
        if (attempt->seen.effect_ran && !attempt->seen.recorded) judge_.excuse(attempt->seen.message);
    }
    running_.clear();
}

void LeaseNode::pause(EventQueue::Duration how_long) {
    stopped_until_ = events_.now() + how_long;
    if (how_long > lease / 3) disturb();
}

void LeaseNode::disturb() {
    for (const auto& attempt : running_) {
        attempt->seen.disturbed = true;
        if (attempt->seen.effect_ran && !attempt->seen.recorded) judge_.excuse(attempt->seen.message);
    }
}

void LeaseNode::later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] { run_when_awake(life, event); });
}

void LeaseNode::run_when_awake(std::uint64_t life, const std::function<void()>& event) {
    if (life != life_) return;
    if (events_.now() < stopped_until_) {
        events_.at(stopped_until_, [this, life, event] { run_when_awake(life, event); });
        return;
    }
    event();
}

void LeaseNode::deliver(int message, std::function<void(bool)> answered) {
    LeaseRequest request{.key = {"mail", std::to_string(message)}, .token = LeaseToken{events_.random()}};
    auto attempt = std::make_shared<Attempt>(
        Attempt{.machine = LeaseMachine{std::move(request), {.lease = lease}, std::chrono::hours{24}},
                .seen = {.number = ++attempts_, .message = message},
                .result = {},
                .name = {},
                .answered = std::move(answered)});
    // Unlike any other attempt's, whichever process made it.
    attempt->result = "result " + std::to_string(events_.random().next());
    attempt->name = std::to_string(attempts_) + " of " + name_;
    run_when_awake(life_, [this, attempt] {
        running_.insert(attempt);
        advance(attempt);
    });
}

void LeaseNode::ask(const Shared& attempt, std::function<std::function<void()>()> at_server) {
    // What was sent arrives, whatever becomes of its sender.
    events_.between(hop_least, hop_most, [this, life = life_, attempt, at_server = std::move(at_server)] {
        if (redis_.away()) {
            events_.between(hop_least, 20ms, [this, life, attempt] {
                run_when_awake(life, [this, attempt] { fail(attempt, Disposition::retry); });
            });
            return;
        }
        auto answer = at_server();
        if (events_.chance(60)) {
            answer = [this, attempt] { fail(attempt, Disposition::in_doubt); };
        }
        events_.between(hop_least, hop_most, [this, life, answer = std::move(answer)] { run_when_awake(life, answer); });
    });
}

void LeaseNode::fail(const Shared& attempt, Disposition disposition) {
    attempt->machine.failed(Error{ErrorCode::unavailable, disposition, "no answer"}, events_.now());
    advance(attempt);
}

void LeaseNode::advance(const Shared& attempt) {
    switch (attempt->machine.next()) {
        case LeaseAction::acquire: return acquire(attempt);
        case LeaseAction::run_effect: return run_effect(attempt);
        case LeaseAction::complete: {
            const auto due = attempt->machine.not_before();
            if (!due || *due <= events_.now()) return complete(attempt);
            const auto wait = *due - events_.now();
            return later(wait, wait, [this, attempt] { complete(attempt); });
        }
        case LeaseAction::release: return release(attempt);
        case LeaseAction::finished: return finish(attempt);
    }
}

void LeaseNode::acquire(const Shared& attempt) {
    attempt->machine.asked(events_.now());
    ask(attempt, [this, attempt]() -> std::function<void()> {
        const auto& request = attempt->machine.request();
        auto seen = redis_.acquire(request);
        events_.note("lease on ", request.key.id, " for ", attempt->name, ": ",
                     seen.state == LeaseSeen::State::ours   ? "granted"
                     : seen.state == LeaseSeen::State::done ? "done before"
                                                            : "another has it");
        if (seen.state == LeaseSeen::State::done) {
            judge_.answered(attempt->seen.message, seen.result, redis_.forgotten(request.key));
        }
        return [this, attempt, seen = std::move(seen)] {
            attempt->machine.seen(seen);
            advance(attempt);
        };
    });
}

void LeaseNode::run_effect(const Shared& attempt) {
    const bool slow = events_.chance(8);
    later(50us, slow ? EventQueue::Duration{4 * lease} : EventQueue::Duration{20ms}, [this, attempt] {
        if (events_.chance(25)) {
            attempt->machine.returned({Handled::retry, {}, "the mail server is busy"});
        } else {
            events_.note("effect of ", attempt->seen.message, " by ", attempt->name);
            judge_.effect(attempt->seen, redis_.forgotten(attempt->machine.request().key));
            attempt->seen.effect_ran = true;
            attempt->machine.returned({Handled::done, attempt->result});
        }
        advance(attempt);
    });
}

void LeaseNode::complete(const Shared& attempt) {
    attempt->machine.asked(events_.now());
    ask(attempt, [this, attempt]() -> std::function<void()> {
        const auto& request = attempt->machine.request();
        const auto kept = redis_.complete(request, attempt->machine.to_keep());
        if (kept != LeaseKept::lost && attempt->seen.effect_ran) {
            attempt->seen.recorded = true;
            events_.note("recorded: ", attempt->seen.message, " by ", attempt->name);
            judge_.recorded(attempt->seen, attempt->result, redis_.forgotten(request.key));
        }
        return [this, attempt, kept] {
            attempt->machine.completed(kept);
            advance(attempt);
        };
    });
}

void LeaseNode::release(const Shared& attempt) {
    if (attempt->renewing) return later(1ms, 1ms, [this, attempt] { release(attempt); });
    const LeaseRequest request = attempt->machine.request();
    events_.between(hop_least, hop_most, [this, request] {
        if (!redis_.away()) redis_.release(request);
    });
    attempt->machine.released();
    advance(attempt);
}

void LeaseNode::finish(const Shared& attempt) {
    running_.erase(attempt);
    const LeaseOutcome& outcome = attempt->machine.outcome();
    const auto handled = outcome.handled().handled;
    // Told to the user: the effect exists, and the store does not know.
    if (outcome.state == LeaseOutcome::State::done && (!outcome.recorded || outcome.lease_lost)) {
        judge_.excuse(attempt->seen.message);
    }
    const bool acknowledged = handled == Handled::done || handled == Handled::already_done;
    if (acknowledged) {
        judge_.acknowledged(attempt->seen.message);
    }
    attempt->answered(acknowledged);
}

void LeaseNode::renew_due() {
    for (const auto& attempt : running_) {
        if (!attempt->machine.renewal_due(events_.now()) || attempt->renewing) continue;
        attempt->renewing = true;
        const SteadyTime asked = events_.now();
        events_.between(hop_least, hop_most, [this, life = life_, attempt, asked] {
            std::optional<LeaseKept> kept;
            if (!redis_.away()) kept = redis_.renew(attempt->machine.request());
            if (!kept || *kept != LeaseKept::kept) {
                events_.note("renewal of ", attempt->seen.message, " by ", attempt->name, ": ",
                             !kept                         ? "no answer"
                             : *kept == LeaseKept::retaken ? "taken again"
                                                           : "lost");
            }
            events_.between(hop_least, hop_most, [this, life, attempt, asked, kept] {
                run_when_awake(life, [this, attempt, asked, kept] {
                    attempt->renewing = false;
                    kept ? attempt->machine.renewed(*kept, asked) : attempt->machine.renewal_failed(events_.now());
                });
            });
        });
    }
    later(lease / 6, lease / 6, [this] { renew_due(); });
}

}  // namespace hufu::simulation
