#include "relay_node.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;

namespace {

outbox::RelayOptions quick_relay(std::string owner) {
    outbox::RelayOptions options;
    options.owner = std::move(owner);
    options.lease = 400ms;
    options.lease_margin = 120ms;
    options.renew_every = 100ms;
    options.page_rows = 20;
    options.window_rows = 60;
    options.poll_min = 2ms;
    options.poll_max = 40ms;
    options.settle_rows = 8;
    options.settle_after = 3ms;
    options.retry = RetrySchedule::capped(5ms, 50ms, 4).jitter(0.5);
    options.store_retry = RetrySchedule::capped(5ms, 50ms).jitter(0.5);
    options.parked_poll = 50ms;
    options.parked_rows = 5;
    options.delayed_poll = 30ms;
    options.late_check = 500ms;
    options.holes_max = 30;
    return options;
}

bool says_gone(outbox::Ownership ownership) { return ownership != outbox::Ownership::held; }

}  // namespace

void RelayNode::awake(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
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

template <class Reply>
void RelayNode::call(std::function<Result<Reply>()> perform, std::function<void(Result<Reply>)> answer) {
    // The request travels on its own: it may reach the database after the relay died or fell asleep.
    const bool request_lost = events_.chance(400);
    const bool answer_lost = events_.chance(400);
    auto outcome = std::make_shared<std::optional<Result<Reply>>>();
    events_.between(30us, 400us,
                    [this, request_lost, answer_lost, outcome, perform = std::move(perform), life = life_,
                     answer = std::move(answer)]() mutable {
                        if (!request_lost && !database_down_) *outcome = perform();
                        if (answer_lost || !outcome->has_value()) {
                            *outcome = Result<Reply>{
                                Error{ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"}};
                        }
                        if (life != life_) return;
                        awake(30us, 400us, [this, outcome, answer = std::move(answer)] {
                            answer(std::move(**outcome));
                            schedule_step();
                        });
                    });
}

void RelayNode::start() {
    ++life_;
    chance_ = std::make_unique<SeededRandom>(events_.random().next());
    machine_ = std::make_unique<outbox::RelayMachine>(quick_relay(name_ + "." + std::to_string(life_)), *chance_);
    lease_ = database_.lease();
    reader_ = database_.reader();
    settler_ = database_.settler();
    lot_ = database_.parking_lot();
    delayed_ = database_.delayed_rows();
    told_to_stop_ = false;
    paused_until_ = {};
    step_planned_ = false;
    link_ = std::make_shared<PublisherLink>(
        name_, events_, broker_, [this, life = life_](std::unique_ptr<outbox::PublishBatch> batch) {
            if (life != life_) return;
            auto held = std::make_shared<std::unique_ptr<outbox::PublishBatch>>(std::move(batch));
            awake(1us, 5us, [this, held] {
                machine_->published(std::move(*held), events_.now());
                schedule_step();
            });
        });
    schedule_step();
}

void RelayNode::kill() {
    ++life_;
    if (link_) link_->close();
    link_.reset();
    machine_.reset();
}

void RelayNode::reset_connection() {
    if (link_) link_->reset();
}

void RelayNode::schedule_step() {
    if (std::exchange(step_planned_, true)) return;
    awake(1us, 3us, [this] {
        step_planned_ = false;
        obey(machine_->step(events_.now()));
    });
}

void RelayNode::obey(outbox::RelayActions actions) {
    if (actions.lease) {
        call<outbox::LeaseReply>([this, request = *actions.lease] { return outbox::perform(request, *lease_); },
                                 [this](Result<outbox::LeaseReply> reply) {
                                     if (reply && reply->claim) {
                                         claimed_epoch_ = reply->claim->epoch;
                                         told_to_stop_ = false;
                                     } else if (reply && says_gone(reply->ownership)) {
                                         told_to_stop_ = true;
                                     }
                                     machine_->lease_done(std::move(reply), events_.now());
                                 });
    }
    if (actions.read) {
        call<outbox::LaneReply>(
            [this, request = *actions.read] { return outbox::perform(request, *reader_); },
            [this](Result<outbox::LaneReply> reply) { machine_->read_done(std::move(reply), events_.now()); });
    }
    if (actions.settle) {
        call<outbox::Settled>([this, request = *actions.settle] { return outbox::perform(request, *settler_); },
                              [this, epoch = actions.settle->claim.epoch](Result<outbox::Settled> reply) {
                                  if (reply && says_gone(reply->ownership) && epoch == claimed_epoch_) told_to_stop_ = true;
                                  machine_->settle_done(std::move(reply), events_.now());
                              });
    }
    if (actions.lot) {
        call<outbox::LotReply>(
            [this, request = *actions.lot] { return outbox::perform(request, *lot_, *delayed_); },
            [this](Result<outbox::LotReply> reply) { machine_->lot_done(std::move(reply), events_.now()); });
    }
    for (auto& batch : actions.publish) {
        for (const auto& message : batch->messages) events_.note(name_, " hands over ", PublisherLink::encode(message));
        if (told_to_stop_) complain_("relay " + name_ + " sends although it was told that its claim is gone");
        link_->publish(std::move(batch));
    }
    if (actions.tick_at) {
        const auto wait = std::max(*actions.tick_at - events_.now(), EventQueue::Duration{1us});
        awake(wait, wait, [this, tick = ++tick_] {
            if (tick == tick_) schedule_step();  // a later step asked for another time
        });
    }
    if (actions.finished)
        complain_("relay " + name_ + " gave up: " + (machine_->error() ? machine_->error()->text() : "no error"));
}

}  // namespace hufu::simulation
