// A consumer process: pulls its queues, runs guarded effects step by step, commits positions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <hufu/core/consumer_machine.hpp>
#include <hufu/idempotency/once.hpp>

#include "broker_node.hpp"
#include "effect_database.hpp"
#include "event_queue.hpp"

namespace hufu::simulation {

class ConsumerNode {
public:
    struct Hooks {
        /// What the broker served at a place of a queue.
        std::function<void(std::size_t queue, const BrokerNode::Stored&)> served;
        std::function<void(const std::string&)> complain;
    };

    ConsumerNode(EventQueue& events, BrokerNode& broker, EffectDatabase& effects, Hooks hooks)
        : events_{events}, broker_{broker}, effects_{effects}, hooks_{std::move(hooks)} {}

    void start();
    void kill();
    [[nodiscard]] bool is_up() const { return machine_ != nullptr; }

    /// The group gives this member a queue, from the stored position on.
    void assign(std::size_t queue, std::uint64_t session);
    /// Another member has it now.
    void revoke(std::size_t queue);

private:
    struct Position {
        std::uint64_t session = 0;
        std::optional<std::uint64_t> next;  // unknown until the broker told the stored one
        std::uint64_t committed = 0;
        std::set<std::uint64_t> open;  // delivered, not acknowledged
        bool pulling = false;
    };
    struct Execution {
        idempotency::OnceMachine machine;
        ConsumerJob job;
        Message message;
        std::optional<EffectDatabase::TransactionId> transaction;
    };

    void later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void poll();
    void pull(std::size_t queue);
    void obey(const ConsumerActions& actions);
    void advance(const std::shared_ptr<Execution>& execution);
    void acknowledge(const DeliveryTag& tag);
    void commit_positions();
    void plan_tick();

    EventQueue& events_;
    BrokerNode& broker_;
    EffectDatabase& effects_;
    Hooks hooks_;
    std::unique_ptr<SeededRandom> chance_;
    std::unique_ptr<ConsumerMachine> machine_;
    std::map<std::size_t, Position> positions_;
    std::set<EffectDatabase::TransactionId> open_;
    std::uint64_t life_ = 0;
    std::uint64_t tick_ = 0;
};

}  // namespace hufu::simulation
