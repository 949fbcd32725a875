#include "consumer_node.hpp"

#include <sstream>

#include <hufu/core/assert.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;
using idempotency::OnceAction;

namespace {

ConsumerOptions quick_consumer() {
    ConsumerOptions options;
    options.group = "stock";
    options.running_max = 4;
    options.held_max = 64;
    options.retry = RetrySchedule::capped(2ms, 20ms).jitter(0.5);
    options.handler_timeout = 0ms;
    return options;
}

/// The inverse of PublisherLink::encode.
Message decode(const std::string& body) {
    Message message;
    std::istringstream in{body};
    std::string id;
    in >> id;
    in.get();
    std::getline(in, message.ordering_key, ' ');
    std::getline(in, message.body);
    message.topic = "orders";
    if (const auto parsed = MessageId::parse(id)) message.id = *parsed;
    return message;
}

}  // namespace

void ConsumerNode::later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] {
        if (life == life_) event();
    });
}

void ConsumerNode::start() {
    ++life_;
    chance_ = std::make_unique<SeededRandom>(events_.random().next());
    machine_ = std::make_unique<ConsumerMachine>(quick_consumer(), *chance_);
    later(0us, 1ms, [this] { poll(); });
    later(5ms, 10ms, [this] { commit_positions(); });
}

void ConsumerNode::kill() {
    ++life_;
    for (const auto transaction : open_) effects_.roll_back(transaction);
    open_.clear();
    positions_.clear();
    machine_.reset();
}

void ConsumerNode::assign(std::size_t queue, std::uint64_t session) {
    positions_[queue] = Position{};
    positions_[queue].session = session;
}

void ConsumerNode::revoke(std::size_t queue) {
    if (positions_.erase(queue) == 0 || !machine_) return;
    const std::uint64_t lost = queue;
    obey(machine_->lose({&lost, 1}, events_.now()));
}

void ConsumerNode::poll() {
    for (auto& [queue, position] : positions_) {
        if (!position.pulling && machine_->room() >= 8) pull(queue);
    }
    later(2ms, 5ms, [this] { poll(); });
}

void ConsumerNode::pull(std::size_t queue) {
    positions_[queue].pulling = true;
    const std::uint64_t session = positions_[queue].session;
    later(30us, 300us, [this, queue, session] {
        std::optional<BrokerNode::Pulled> pulled;
        std::optional<std::uint64_t> start;
        if (broker_.is_up()) {
            const auto found = positions_.find(queue);
            if (found == positions_.end() || found->second.session != session) return;
            start = found->second.next ? *found->second.next : broker_.committed_position(queue);
            pulled = broker_.pull(queue, *start, 8);
        }
        later(30us, 300us, [this, queue, session, pulled, start] {
            const auto found = positions_.find(queue);
            if (found == positions_.end() || found->second.session != session) return;
            Position& position = found->second;
            position.pulling = false;
            if (!pulled) return;
            if (!position.next) position.committed = *start;
            position.next = pulled->next_offset;
            std::vector<Delivery> deliveries;
            for (const auto& stored : pulled->messages) {
                hooks_.served(queue, stored);
                events_.note("consumer gets ", stored.body, " at ", queue, "/", stored.offset, " session ", session);
                Delivery delivery;
                delivery.message = decode(stored.body);
                delivery.tag = {queue, stored.offset, session};
                delivery.stored_at = events_.system_now();
                position.open.insert(stored.offset);
                deliveries.push_back(std::move(delivery));
            }
            obey(machine_->deliver(std::move(deliveries), events_.now()));
        });
    });
}

void ConsumerNode::obey(const ConsumerActions& actions) {
    for (const auto& start : actions.start) {
        auto execution = std::make_shared<Execution>(
            Execution{idempotency::OnceMachine{{"stock", start.delivery->message.id}, start.delivery->stored_at},
                      start.job,
                      start.delivery->message,
                      {}});
        later(5us, 100us, [this, execution] { advance(execution); });
    }
    for (const auto& tag : actions.acknowledge) acknowledge(tag);
    for (const auto& letter : actions.dead_letters)
        hooks_.complain("a dead letter nobody expected: " + letter.message->id.to_string());
    plan_tick();
}

void ConsumerNode::plan_tick() {
    const auto due = machine_->wake_at();
    if (!due) return;
    const auto wait = std::max(*due - events_.now(), EventQueue::Duration{1us});
    later(wait, wait, [this, tick = ++tick_] {
        if (tick == tick_) obey(machine_->tick(events_.now()));
    });
}

void ConsumerNode::advance(const std::shared_ptr<Execution>& execution) {
    auto& machine = execution->machine;
    const auto lost = [&] {
        if (execution->transaction) open_.erase(*execution->transaction);
        execution->transaction.reset();
        machine.failed(Error{ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"});
    };
    const bool dead = execution->transaction && !effects_.is_open(*execution->transaction);
    switch (machine.next()) {
        case OnceAction::begin:
            execution->transaction = effects_.begin();
            open_.insert(*execution->transaction);
            machine.done();
            break;
        case OnceAction::insert_guard:
            if (dead) {
                lost();
            } else if (const auto seen = effects_.insert(*execution->transaction, machine.key())) {
                machine.seen(*seen);
            }  // else it waits for the other transaction: ask again
            break;
        case OnceAction::find_guard: machine.seen(effects_.find(machine.key())); break;
        case OnceAction::run_effect:
            if (dead) {
                lost();
            } else if (events_.chance(60)) {
                machine.returned(Handled::retry);
            } else {
                const Message& message = execution->message;
                effects_.add_effect(*execution->transaction,
                                    {message.id, message.ordering_key, std::strtoull(message.body.c_str(), nullptr, 10)});
                machine.returned(Handled::done);
            }
            break;
        case OnceAction::keep_result:
            if (dead) {
                lost();
            } else {
                effects_.keep_result(*execution->transaction, machine.outcome().result);
                machine.done();
            }
            break;
        case OnceAction::commit: {
            const bool committed = effects_.commit(*execution->transaction);
            events_.note("effect ", committed ? "committed: " : "not committed: ", execution->message.id.to_string(), " ",
                         execution->message.ordering_key, " ", execution->message.body);
            open_.erase(*execution->transaction);
            execution->transaction.reset();
            if (committed && !events_.chance(100)) {
                machine.done();
            } else {
                lost();  // it may have been committed: the guard row will tell
            }
            break;
        }
        case OnceAction::roll_back:
            if (execution->transaction) {
                effects_.roll_back(*execution->transaction);
                open_.erase(*execution->transaction);
                execution->transaction.reset();
            }
            machine.done();
            break;
        case OnceAction::finished:
            obey(machine_->handled(execution->job, HandlerResult{machine.outcome().handled, machine.outcome().reason},
                                   events_.now()));
            return;
    }
    later(5us, 300us, [this, execution] { advance(execution); });
}

void ConsumerNode::acknowledge(const DeliveryTag& tag) {
    const auto found = positions_.find(tag.queue);
    if (found == positions_.end() || found->second.session != tag.session) return;
    found->second.open.erase(tag.position);
}

void ConsumerNode::commit_positions() {
    for (auto& [queue, position] : positions_) {
        if (!position.next || !broker_.is_up()) continue;
        // Everything below the lowest open delivery is done.
        const std::uint64_t upto = position.open.empty() ? *position.next : *position.open.begin();
        if (upto > position.committed) {
            position.committed = upto;
            broker_.commit_position(queue, upto);
        }
    }
    later(5ms, 15ms, [this] { commit_positions(); });
}

}  // namespace hufu::simulation
