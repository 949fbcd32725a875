// Which message goes out when, and what becomes of the others when one fails. No thread, no socket.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <hufu/core/ids.hpp>
#include <hufu/core/publisher.hpp>

#include "cluster.hpp"
#include "topic_queues.hpp"

namespace hufu::rocketmq {

/// One call of `publish`.
struct Job {
    std::span<const Message> batch;
    std::span<PublishOutcome> outcomes;
    Publisher::Done done;
    std::size_t open = 0;                              // outcomes not yet final
    std::unordered_set<std::string> failed_keys = {};  // topic 0x01 key
};

/// Per queue a line of messages and at most one request in flight (more only for messages without a key). When a message
/// of a key fails, every later one of that key that was accepted before the failure was reported is refused.
class PublishMachine {
public:
    PublishMachine(Cluster& cluster, PublisherOptions options, Clock& clock, MessageIdGenerator& ids);

    /// Takes the job's messages. It comes back by `take_finished` when all outcomes are final.
    void accept(SteadyTime now, std::shared_ptr<Job> job);
    /// The job's `done` is about to be called, and has returned. In the order in which jobs were accepted around them.
    void reporting(const Job& job);
    void reported(const Job& job);
    [[nodiscard]] std::vector<std::shared_ptr<Job>> take_finished() { return std::exchange(finished_, {}); }

    void link(SteadyTime now, const std::string& address, bool up);
    void tick(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next_tick() const noexcept;
    /// Ends everything: what was sent is in doubt, the rest not sent. Later jobs end at once.
    void close();

private:
    struct Item {
        std::shared_ptr<Job> job;
        std::size_t index = 0;
        SteadyTime deadline{};
        bool alone = false;  // its batch was refused: find the culprit
        [[nodiscard]] const Message& message() const { return job->batch[index]; }
    };
    struct Lane {
        QueueAt at;
        std::deque<Item> pending = {};
        std::uint32_t in_flight = 0;
        bool keyed_in_flight = false;
    };
    struct Topic {
        std::string name;
        std::vector<Lane> lanes = {};  // empty until the route is known
        std::deque<Item> unrouted = {};
        std::size_t round_robin = 0;
        std::optional<std::vector<QueueAt>> next_queues = {};  // taken when nothing is in flight
        bool looking_up = false;
        SteadyTime lookup_at{};
    };
    struct Flight {
        Topic* topic = nullptr;
        std::size_t lane = 0;
        std::vector<Item> items;
        bool ended = false;
    };
    struct Blocked {
        std::size_t unreported = 0;  // jobs whose failure the caller cannot know yet
        std::size_t reporting = 0;   // jobs whose `done` is running
        MessageId first;             // the failed message that the caller must begin again with
        bool resumed = false;        // it came again
    };

    void look_up(SteadyTime now, Topic& topic);
    void looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route, bool from_template);
    void take_queues(SteadyTime now, Topic& topic, std::vector<QueueAt> queues);
    void apply_next_queues(SteadyTime now, Topic& topic);
    void assign(Topic& topic, Item item);
    void pump(SteadyTime now, Topic& topic);
    void pump(SteadyTime now, Topic& topic, std::size_t lane);
    void launch(SteadyTime now, Topic& topic, std::size_t lane, std::vector<Item> items);
    [[nodiscard]] std::string encode(const Topic& topic, const Lane& lane, const std::vector<Item>& items,
                                     std::int32_t opaque);
    void landed(SteadyTime now, const std::shared_ptr<Flight>& flight, const Answer& answer);
    void confirm(const Flight& flight, const remoting::CommandView& response);
    void finish(const Item& item, PublishStatus status, Error error);
    /// Finishes `items` and refuses what waits in `line` under the same keys.
    void fail(const std::vector<Item>& items, std::deque<Item>& line, PublishStatus status, const Error& error);
    void expire(SteadyTime now, std::deque<Item>& line, const std::string& why);
    [[nodiscard]] bool refused_by_block(const Message& message);
    [[nodiscard]] Result<void> check(const Message& message) const;
    [[nodiscard]] static std::string key_of(const Message& message) { return message.topic + '\x01' + message.ordering_key; }

    Cluster& cluster_;
    PublisherOptions options_;
    Clock& clock_;
    MessageIdGenerator& ids_;
    std::map<std::string, Topic, std::less<>> topics_;
    std::unordered_map<std::string, Blocked> blocked_;
    std::vector<std::weak_ptr<Flight>> flights_;  // for close()
    std::vector<std::shared_ptr<Job>> finished_;
    std::string properties_;  // scratch
    SteadyTime heartbeat_at_{};
    bool closed_ = false;
};

}  // namespace hufu::rocketmq
