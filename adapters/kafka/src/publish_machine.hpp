// Which message is handed to librdkafka when, and what becomes of the others when one fails. No thread, no socket.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/kafka/client.hpp>

namespace hufu::kafka {

/// One call of `publish`.
struct Job {
    std::span<const Message> batch;
    std::span<PublishOutcome> outcomes;
    Publisher::Done done;
    std::size_t open = 0;                              // outcomes not yet final
    std::unordered_set<std::string> failed_keys = {};  // topic 0x01 key
};

/// What is handed over cannot be taken back one by one, so of each key one message is out at a time, and the others wait
/// here. When it fails, they are refused, and so is every later one of the key until the caller knows of the failure.
class PublishMachine {
public:
    struct Item {
        std::shared_ptr<Job> job;
        std::size_t index = 0;
        MessageId id = {};
        std::size_t bytes = 0;
        [[nodiscard]] const Message& message() const { return job->batch[index]; }
    };

    PublishMachine(PublisherOptions options, Clock& clock, MessageIdGenerator& ids);
    ~PublishMachine();
    PublishMachine(const PublishMachine&) = delete;
    PublishMachine& operator=(const PublishMachine&) = delete;

    /// Takes the job's messages. It comes back by `take_finished` when all outcomes are final.
    void accept(std::shared_ptr<Job> job);
    /// To be handed over, in this order. Each must come back by `landed`, exactly once.
    [[nodiscard]] std::vector<Item*> take_ready() { return std::exchange(ready_, {}); }
    void landed(Item* item, PublishOutcome outcome);
    [[nodiscard]] std::vector<std::shared_ptr<Job>> take_finished() { return std::exchange(finished_, {}); }
    /// The job's `done` is about to be called, and has returned.
    void reporting(const Job& job);
    void reported(const Job& job);

    /// Refuses what waits and what comes. What was handed over must still land.
    void close();
    /// Ready or handed over and not landed.
    [[nodiscard]] std::size_t out() const noexcept { return out_.size(); }
    /// Ready and not yet taken.
    [[nodiscard]] std::size_t ready() const noexcept { return ready_.size(); }

private:
    using Owned = std::unique_ptr<Item>;
    struct Line {
        bool out = false;  // one is ready or handed over
        std::deque<Owned> waiting = {};
    };
    struct Blocked {
        std::size_t unreported = 0;  // jobs whose failure the caller cannot know yet
        std::size_t reporting = 0;   // jobs whose `done` is running
        MessageId first;             // the failed message that the caller must begin again with
        bool resumed = false;        // it came again
    };

    void hand_over(Owned item);
    void finish(const Item& item, PublishOutcome outcome);
    void finish(const Item& item, PublishStatus status, Error error);
    [[nodiscard]] bool refused_by_block(const Message& message);
    [[nodiscard]] Result<void> check(const Message& message) const;
    [[nodiscard]] bool has_room(const Item& item) const noexcept;
    [[nodiscard]] static std::string key_of(const Message& message) { return message.topic + '\x01' + message.ordering_key; }

    const PublisherOptions options_;
    Clock& clock_;
    MessageIdGenerator& ids_;
    std::unordered_map<std::string, Line> lines_;  // keys with a message out
    std::unordered_map<std::string, Blocked> blocked_;
    std::unordered_map<const Item*, Owned> out_;
    std::vector<Item*> ready_;
    std::vector<std::shared_ptr<Job>> finished_;
    std::size_t held_messages_ = 0;
    std::size_t held_bytes_ = 0;
    bool closed_ = false;
};

}  // namespace hufu::kafka
