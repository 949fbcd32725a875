// A relay's connection to the broker: keeps the publisher's contract over a network that loses answers.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <hufu/outbox/relay_actions.hpp>

#include "broker_node.hpp"
#include "event_queue.hpp"

namespace hufu::simulation {

/// One relay process's publisher. One group in flight per queue; a failure takes back everything of the queue that was
/// accepted before it was reported. Dies with its relay; what it sent may still arrive.
class PublisherLink : public std::enable_shared_from_this<PublisherLink> {
public:
    using Done = std::function<void(std::unique_ptr<outbox::PublishBatch>)>;

    PublisherLink(std::string name, EventQueue& events, BrokerNode& broker, Done done)
        : name_{std::move(name)}, events_{events}, broker_{broker}, done_{std::move(done)} {}

    void publish(std::unique_ptr<outbox::PublishBatch> batch);
    /// The connection breaks: what is in flight is in doubt, and may arrive all the same.
    void reset();
    /// The relay died.
    void close() { closed_ = true; }

    /// A message that the broker will never take.
    static bool is_poison(const Message& message) { return message.tag == "poison"; }
    static std::string encode(const Message& message);

private:
    struct Job {
        std::unique_ptr<outbox::PublishBatch> batch;
        std::size_t open = 0;
        std::set<std::string> failed_keys = {};
    };
    struct Item {
        std::shared_ptr<Job> job;
        std::size_t index = 0;
        [[nodiscard]] const Message& message() const { return job->batch->messages[index]; }
    };
    struct Queue {
        std::deque<Item> accepted;
        std::vector<Item> in_flight;
        std::uint64_t request = 0;
    };

    void settle(const Item& item, PublishStatus status, const char* why);
    void send_next(std::size_t queue);
    void answered(std::size_t queue, std::uint64_t request, PublishStatus status);
    void report(const std::shared_ptr<Job>& job);

    const std::string name_;
    EventQueue& events_;
    BrokerNode& broker_;
    Done done_;
    Queue queues_[BrokerNode::queues];
    std::map<std::string, int> failing_;  // keys with a failure that `done` has not reported yet, and in how many batches
    std::uint64_t requests_ = 0;
    bool closed_ = false;
};

}  // namespace hufu::simulation
