// A member of a consumer group: routes, heartbeat, share of queues, pulls, positions. No thread, no socket.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/subscription.hpp>

#include "cluster.hpp"
#include "topic_queues.hpp"

namespace hufu::rocketmq {

/// The share of member `index` of `members` in `queues` queues, as [first, count): contiguous, the first members get one
/// more when it does not come out even (AllocateMessageQueueAveragely).
struct Share {
    std::size_t first = 0;
    std::size_t count = 0;
    friend bool operator==(const Share&, const Share&) = default;
};
[[nodiscard]] Share average_share(std::size_t queues, std::size_t members, std::size_t index) noexcept;

/// What is due is looked at after every event, so nothing is forgotten when an answer never comes.
class SubscriptionMachine {
public:
    SubscriptionMachine(Cluster& cluster, SubscriptionOptions subscription, SubscriberOptions options, std::int64_t version,
                        Log& log);

    void acknowledge(SteadyTime now, std::span<const DeliveryTag> tags);
    void link(SteadyTime now, const std::string& address, bool up);
    void request(SteadyTime now, const std::string& address, const remoting::CommandView& command);
    void tick(SteadyTime now) { step(now); }
    [[nodiscard]] std::optional<SteadyTime> next_tick() const noexcept { return next_; }
    /// Does what is due. Called after every event.
    void step(SteadyTime now);
    /// Stores the positions, leaves the group, then calls `closed`, at the latest after the request time-out.
    void close(SteadyTime now, std::function<void()> closed);

    /// New deliveries since the last call, per queue in order.
    [[nodiscard]] std::vector<Delivery> take_deliveries() { return std::exchange(deliveries_, {}); }
    /// Sessions that ended since the last call: (queue number, session).
    [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> take_lost() { return std::exchange(lost_, {}); }
    /// Why the subscription cannot go on, once.
    [[nodiscard]] std::optional<Error> take_failure() { return std::exchange(failure_, {}); }

private:
    struct Cached {
        std::int64_t offset = 0;
        std::size_t bytes = 0;
        bool acknowledged = false;
    };
    struct Queue {
        std::uint64_t number = 0;
        QueueAt at;
        std::uint64_t session = 0;
        bool assigned = false;
        bool balanced = false;           // the share was computed since the connection came up
        bool positioned = false;         // `next` is known
        bool verify = false;             // after a lost connection: is the stored position still ours?
        std::int64_t next = 0;           // offset to pull from
        std::int64_t stored = -1;        // position the broker was told
        std::deque<Cached> cached = {};  // received, oldest first; acknowledged ones leave at the front
        std::size_t cached_bytes = 0;
        bool asking = false;
        bool pulling = false;
        SteadyTime at_time{};  // not before: next question or pull
        [[nodiscard]] std::int64_t position() const noexcept { return cached.empty() ? next : cached.front().offset; }
    };
    struct Topic {
        std::string name;
        std::vector<QueueAt> queues = {};
        bool looking_up = false;
        SteadyTime lookup_at{};
        bool balancing = false;
        SteadyTime balance_at{};
    };
    struct Broker {
        bool registered = false;  // it answered a heartbeat since the connection came up
        bool beating = false;
        SteadyTime beat_at{};
    };

    void due(SteadyTime at) noexcept { next_ = next_ && *next_ < at ? *next_ : at; }
    void step_topic(SteadyTime now, Topic& topic);
    void step_broker(SteadyTime now, const std::string& address, Broker& broker);
    void step_queue(SteadyTime now, Queue& queue);
    void looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route);
    void members(SteadyTime now, Topic& topic, const Answer& answer);
    void share(SteadyTime now, const Topic& topic, std::size_t members, std::size_t index);
    void begin_session(Queue& queue);
    void lose(Queue& queue);
    void ask_position(SteadyTime now, Queue& queue);
    void positioned(SteadyTime now, Queue& queue, const Answer& answer);
    void ask_start(SteadyTime now, Queue& queue);
    void pull(SteadyTime now, Queue& queue);
    void pulled(SteadyTime now, Queue& queue, SteadyTime sent, const Answer& answer);
    void take_records(Queue& queue, std::string_view body);
    void store_position(Queue& queue);
    [[nodiscard]] Queue* current(std::uint64_t number, std::uint64_t session) noexcept;
    [[nodiscard]] std::string heartbeat() const;

    Cluster& cluster_;
    SubscriptionOptions subscription_;
    SubscriberOptions options_;
    std::int64_t version_;
    Log& log_;
    std::vector<std::unique_ptr<Topic>> topics_;
    std::map<std::string, Broker> brokers_;
    std::vector<std::unique_ptr<Queue>> queues_;  // by number
    std::map<remoting::MessageQueue, std::uint64_t> numbers_;
    std::uint64_t last_session_ = 0;
    SteadyTime offsets_at_{};
    std::optional<SteadyTime> next_;
    std::vector<Delivery> deliveries_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> lost_;
    std::optional<Error> failure_;
    bool closed_ = false;
};

}  // namespace hufu::rocketmq
