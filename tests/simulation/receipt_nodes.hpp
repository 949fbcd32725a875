// The processes around the book of receipts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/idempotency/once.hpp>
#include <hufu/outbox/awaiting_machine.hpp>

#include "effect_database.hpp"
#include "event_queue.hpp"
#include "memory_book.hpp"

namespace hufu::simulation {

/// Hands a message to the broker; tells later what became of it.
using SendToBroker = std::function<void(const Message&, std::function<void(PublishStatus)>)>;

/// A process that sends again what is overdue: the machine, its calls to the book over a network, pauses and deaths.
class ResenderNode {
public:
    using Check = std::function<void(const Message&)>;  ///< called when a message is handed to the broker

    ResenderNode(EventQueue& events, outbox::testing::MemoryBook& book, SendToBroker send, Check check)
        : events_{events}, rows_{book, mutex_}, send_{std::move(send)}, check_{std::move(check)} {}

    static outbox::AwaitingOptions options();
    void start();
    void kill();
    [[nodiscard]] bool is_up() const { return machine_ != nullptr; }
    void pause(EventQueue::Duration how_long) { paused_until_ = events_.now() + how_long; }
    [[nodiscard]] std::uint64_t resent() const { return resent_; }

private:
    void awake(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void plan_step();
    void obey(outbox::AwaitingActions actions);
    void ask(const outbox::AwaitingRequest& request);
    void publish(std::unique_ptr<outbox::ResendBatch> batch);

    EventQueue& events_;
    std::recursive_mutex mutex_;
    outbox::testing::MemoryAwaiting rows_;
    SendToBroker send_;
    Check check_;
    std::unique_ptr<SeededRandom> chance_;
    std::unique_ptr<outbox::AwaitingMachine> machine_;
    SteadyTime paused_until_{};
    bool step_planned_ = false;
    std::uint64_t tick_ = 0;
    std::uint64_t life_ = 0;
    std::uint64_t resent_ = 0;
};

/// A consumer of one group: guarded effects step by step, each with its receipt in the same transaction.
class ReceiptConsumer {
public:
    using Emit = std::function<void(const Message& receipt)>;  ///< a receipt that is committed

    ReceiptConsumer(std::string group, EventQueue& events, Emit emit)
        : group_{std::move(group)}, events_{events}, emit_{std::move(emit)} {}

    /// The broker delivers until it is acknowledged.
    void deliver(const Message& message);
    /// The process dies and comes back; what it had not acknowledged is delivered again.
    void crash();
    void heal() { healed_ = true; }
    [[nodiscard]] const EffectDatabase& database() const { return database_; }
    [[nodiscard]] bool has_effect(const MessageId& id) const;
    [[nodiscard]] const std::string& group() const { return group_; }
    /// This group refuses a message whose tag is "refuse".
    bool refuses = false;

private:
    struct Execution {
        std::uint64_t delivery = 0;
        Message message;
        idempotency::OnceMachine machine;
        outbox::ReceiptDuty duty;
        std::optional<EffectDatabase::TransactionId> transaction = {};
        std::optional<Message> receipt = {};  // appended in the open transaction
        bool written = false;
    };
    void later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void begin(std::uint64_t delivery);
    void advance(const std::shared_ptr<Execution>& execution);
    void step(Execution& execution);
    void finish(const Execution& execution);

    std::string group_;
    EventQueue& events_;
    Emit emit_;
    EffectDatabase database_;
    std::map<std::uint64_t, Message> unacknowledged_;
    std::uint64_t deliveries_ = 0;
    std::uint64_t life_ = 0;
    bool healed_ = false;
};

}  // namespace hufu::simulation
