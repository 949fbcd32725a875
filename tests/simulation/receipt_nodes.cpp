#include "receipt_nodes.hpp"

#include <algorithm>

namespace hufu::simulation {

using namespace std::chrono_literals;
using idempotency::OnceAction;

outbox::AwaitingOptions ResenderNode::options() {
    outbox::AwaitingOptions options;
    options.batch_rows = 8;
    options.hold = 60ms;
    options.trust = 40ms;
    options.poll_min = 2ms;
    options.poll_max = 20ms;
    options.broker_retry = RetrySchedule::capped(5ms, 20ms).jitter(0.5);
    options.store_retry = RetrySchedule::capped(2ms, 20ms).jitter(0.5);
    options.keep = 0ms;
    return options;
}

void ResenderNode::start() {
    ++life_;
    chance_ = std::make_unique<SeededRandom>(events_.random().next());
    machine_ = std::make_unique<outbox::AwaitingMachine>(options(), *chance_);
    paused_until_ = {};
    step_planned_ = false;
    plan_step();
}

void ResenderNode::kill() {
    ++life_;
    machine_.reset();
}

void ResenderNode::awake(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] {
        if (life != life_) return;
        if (paused_until_ > events_.now()) {
            events_.at(paused_until_, [this, life, event] {
                if (life == life_) awake(0us, 0us, event);
            });
            return;
        }
        event();
    });
}

void ResenderNode::plan_step() {
    if (std::exchange(step_planned_, true)) return;
    awake(1us, 3us, [this] {
        step_planned_ = false;
        obey(machine_->step(events_.now()));
    });
}

void ResenderNode::obey(outbox::AwaitingActions actions) {
    if (actions.ask) ask(*actions.ask);
    if (actions.publish) publish(std::move(actions.publish));
    if (!actions.tick_at) return;
    const auto wait = std::max(*actions.tick_at - events_.now(), EventQueue::Duration{1us});
    awake(wait, wait, [this, tick = ++tick_] {
        if (tick == tick_) plan_step();
    });
}

void ResenderNode::ask(const outbox::AwaitingRequest& request) {
    // The request travels on its own: it may reach the database after the process died or fell asleep.
    const bool request_lost = events_.chance(30);
    const bool answer_lost = events_.chance(30);
    // The worst moment to stand still: with a claim on its way.
    if (events_.chance(40)) pause(std::chrono::milliseconds{20 + events_.random().below(400)});
    events_.between(30us, 2ms, [this, request, request_lost, answer_lost, life = life_] {
        auto answer = std::make_shared<Result<outbox::AwaitingReply>>(
            Error{ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"});
        if (!request_lost) {
            auto reply = outbox::perform(request, rows_);
            if (!answer_lost) *answer = std::move(reply);
        }
        if (life != life_) return;
        awake(30us, 2ms, [this, answer] {
            machine_->done(std::move(*answer), events_.now());
            plan_step();
        });
    });
}

void ResenderNode::publish(std::unique_ptr<outbox::ResendBatch> batch) {
    auto shared = std::make_shared<std::unique_ptr<outbox::ResendBatch>>(std::move(batch));
    auto open = std::make_shared<std::size_t>((*shared)->messages.size());
    for (std::size_t at = 0; at < (*shared)->messages.size(); ++at) {
        const Message& message = (*shared)->messages[at];
        events_.note("sent again: ", message.id.to_string());
        ++resent_;
        check_(message);
        send_(message, [this, shared, open, at, life = life_](PublishStatus status) {
            (*shared)->outcomes[at].status = status;
            if (--*open > 0 || life != life_) return;
            awake(1us, 50us, [this, shared] {
                machine_->published(std::move(*shared), events_.now());
                plan_step();
            });
        });
    }
}

// Consumer

void ReceiptConsumer::later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] {
        if (life == life_) event();
    });
}

bool ReceiptConsumer::has_effect(const MessageId& id) const {
    const auto& effects = database_.effects();
    return std::any_of(effects.begin(), effects.end(), [&](const Effect& effect) { return effect.id == id; });
}

void ReceiptConsumer::deliver(const Message& message) {
    const auto number = ++deliveries_;
    unacknowledged_.emplace(number, message);
    begin(number);
}

void ReceiptConsumer::crash() {
    ++life_;
    database_.restart();
    for (const auto& [number, message] : unacknowledged_) begin(number);
}

void ReceiptConsumer::begin(std::uint64_t delivery) {
    later(1ms, 60ms, [this, delivery] {
        const auto found = unacknowledged_.find(delivery);
        if (found == unacknowledged_.end()) return;
        const Message& message = found->second;
        advance(std::make_shared<Execution>(
            Execution{.delivery = delivery,
                      .message = message,
                      .machine = idempotency::OnceMachine{{group_, message.id}, events_.system_now()},
                      .duty = outbox::ReceiptDuty{group_, message}}));
    });
}

void ReceiptConsumer::advance(const std::shared_ptr<Execution>& execution) {
    if (execution->machine.next() == OnceAction::finished) return finish(*execution);
    step(*execution);
    later(5us, 1ms, [this, execution] { advance(execution); });
}

void ReceiptConsumer::step(Execution& execution) {
    auto& machine = execution.machine;
    switch (machine.next()) {
        case OnceAction::begin:
            execution.transaction = database_.begin();
            machine.done();
            break;
        case OnceAction::insert_guard:
            if (const auto seen = database_.insert(*execution.transaction, machine.key())) machine.seen(*seen);
            break;
        case OnceAction::find_guard: machine.seen(database_.find(machine.key())); break;
        case OnceAction::run_effect: {
            Handled says = !healed_ && events_.chance(10) ? Handled::retry : Handled::done;
            if (refuses && execution.message.tag == "refuse") says = Handled::reject;
            if (says == Handled::done) database_.add_effect(*execution.transaction, {execution.message.id, {}, 0});
            execution.receipt = execution.duty.with_effect(says);
            execution.written = execution.receipt.has_value();
            machine.returned({says, std::string{"sold out"}});
            break;
        }
        case OnceAction::keep_result: machine.done(); break;
        case OnceAction::commit: {
            const bool committed = database_.commit(*execution.transaction);
            if (committed && execution.receipt) emit_(*execution.receipt);
            events_.note(group_, committed ? " commits " : " lost ", execution.message.id.to_string());
            if (committed && (healed_ || !events_.chance(10))) {
                machine.done();
            } else {
                machine.failed(Error{ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"});
            }
            break;
        }
        case OnceAction::roll_back:
            database_.roll_back(*execution.transaction);
            machine.done();
            break;
        case OnceAction::finished: break;
    }
}

void ReceiptConsumer::finish(const Execution& execution) {
    const auto& outcome = execution.machine.outcome();
    if (outcome.handled == Handled::retry) return begin(execution.delivery);
    // A transaction of its own, after which the delivery is acknowledged; the process may die before either.
    if (const auto receipt = execution.duty.afterwards(outcome.handled, "sold out", execution.written)) emit_(*receipt);
    later(5us, 5ms, [this, delivery = execution.delivery] { unacknowledged_.erase(delivery); });
}

}  // namespace hufu::simulation
