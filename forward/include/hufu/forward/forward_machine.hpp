// What the forwarder decides: what is published when, what is acknowledged, what becomes a dead letter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::forward {

/// How the members of a forwarding group work. Every member should have the same.
struct ForwardOptions {
    /// Names the dead-letter topic ("%DLQ%" + group) and the metrics; the subscription's group.
    std::string group = {};

    /// What happens to a message that the target rejects, that is, will never accept.
    ///   park_key      it becomes a dead letter, and so do the later ones of its key, in order, until the key is reopened or
    ///                 this process ends: nothing of the key overtakes what is missing;
    ///   park_message  it becomes a dead letter, the later ones go on;
    ///   hold          it is tried again for ever, the later ones of its key wait behind it. Its queue's position waits too.
    enum class Rejected : std::uint8_t { park_key, park_message, hold } rejected = Rejected::park_key;
    std::size_t parked_keys_max = 100'000;  ///< keys remembered by park_key; when full, what is rejected is held

    std::size_t batch_messages = 500;  ///< most messages in one batch
    std::size_t batches_max = 4;       ///< batches under way at the same time
    /// Messages in memory. When either is reached nothing is received until one is dealt with.
    std::size_t held_messages_max = 20'000;
    std::size_t held_bytes_max = std::size_t{64} << 20;

    /// Waits of a key whose message was not confirmed. Never exhausted: an outage parks nothing.
    RetrySchedule retry = RetrySchedule::capped(std::chrono::milliseconds{100}, std::chrono::seconds{30}).jitter(0.2);
};

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const ForwardOptions& options);

/// Messages on their way. The shell publishes `messages` into `outcomes`, to the target or to the dead letters, and hands
/// the object back when every outcome is final.
struct ForwardBatch {
    std::vector<Message> messages = {};
    std::vector<PublishOutcome> outcomes = {};
    bool dead_letters = false;
    struct Part {
        std::uint64_t lane = 0;
        std::size_t count = 0;  ///< of its messages, in order
    };
    std::vector<Part> parts = {};
};

/// Running totals and levels, for metrics and people.
struct ForwardFigures {
    std::uint64_t received = 0;
    std::uint64_t forwarded = 0;  ///< confirmed by the target
    std::uint64_t retried = 0;    ///< messages published once more
    std::uint64_t dead = 0;       ///< became dead letters
    std::uint64_t dropped = 0;    ///< not dealt with here: another member has their queue, or the forwarder stopped
    std::uint64_t held = 0;
    std::uint64_t held_bytes = 0;
    std::uint64_t keys_waiting = 0;  ///< keys (and messages without one) that wait to be tried again
    SystemTime last_stored_at = {};  ///< when the source stored the message that was confirmed last
    Error last_error = {};           ///< latest failure, for people
};

/// What to do now. Batches must be handed to their publisher in the order given.
struct ForwardActions {
    std::vector<std::unique_ptr<ForwardBatch>> publish = {};
    std::vector<DeliveryTag> acknowledge = {};
    /// Trouble, for log and alarm.
    struct Notice {
        enum class Kind : std::uint8_t {
            retry,  ///< messages were not confirmed and will be published again (one notice for a batch)
            dead,   ///< a message is a dead letter now
            stuck,  ///< a dead letter was not confirmed, or a rejected message is held; it will be tried again
        } kind = Kind::retry;
        MessageId id = {};  ///< the message, or the first of several
        ConsumerKey key = {};
        std::size_t messages = 1;
        std::string reason = {};
    };
    std::vector<Notice> notices = {};
    std::optional<SteadyTime> tick_at = {};  ///< call `step` again then, if nothing happens before
    bool finished = false;                   ///< after `stop`: nothing is under way any more
};

/// One member of a forwarding group, as a state machine: owns no thread, socket or clock. Tell it what happened, then call
/// `step(now)` and obey. One thread at a time; time must not go back. A machine that is simply destroyed is a forwarder
/// that crashed.
///
/// Delivery: a message is acknowledged after the target (or the dead letters) confirmed it, so a crash at any point repeats
/// and never loses; a copy has the id of the first. Order: of a (topic, ordering key) one batch is under way at a time, and
/// after a failure the next begins with the message that failed.
class ForwardMachine {
public:
    /// Borrows `random` for its life.
    ForwardMachine(ForwardOptions options, Random& random);
    ~ForwardMachine();
    ForwardMachine(const ForwardMachine&) = delete;
    ForwardMachine& operator=(const ForwardMachine&) = delete;

    /// Another member has these queues. Call it before `deliver` with what was received at the same time.
    void lose(std::span<const std::uint64_t> queues);
    void deliver(std::vector<Delivery> deliveries);
    void published(std::unique_ptr<ForwardBatch> batch, SteadyTime now);
    /// Publish nothing more, acknowledge what is confirmed, finish.
    void stop();

    [[nodiscard]] ForwardActions step(SteadyTime now);

    /// How many deliveries there is room for.
    [[nodiscard]] std::size_t room() const noexcept;
    [[nodiscard]] const ForwardFigures& figures() const noexcept { return figures_; }
    /// Keys whose messages become dead letters, and letting one through again. False: it was not among them.
    [[nodiscard]] const std::set<ConsumerKey>& parked_keys() const noexcept { return parked_keys_; }
    bool reopen(const ConsumerKey& key);

private:
    struct Job {
        Delivery delivery;
        std::size_t bytes = 0;
        bool lost = false;             // its queue is another member's; it is never acknowledged
        std::string dead_reason = {};  // not empty: it goes to the dead letters
    };
    /// Messages of one key, or one message without a key.
    struct Lane {
        ConsumerKey key;
        std::deque<Job> jobs = {};
        std::size_t out = 0;  // of the first ones, under way
        std::uint32_t failures = 0;
        bool waiting = false;
        bool ready = false;
    };
    using LaneId = std::uint64_t;
    using Notice = ForwardActions::Notice;

    [[nodiscard]] bool is_stale(const Delivery& delivery);
    void accept(Delivery delivery);
    void take_away(std::uint64_t queue);
    void remove_lost(LaneId id, Lane& lane);
    void make_ready(LaneId id, Lane& lane);
    void erase(LaneId id);
    void fill_batches();
    void take_part(LaneId id, Lane& lane, ForwardBatch& batch);
    void settle(const ForwardBatch& batch, ForwardBatch::Part part, std::size_t first, SteadyTime now);
    void failed(Lane& lane, const PublishOutcome& outcome, bool dead_letter, SteadyTime now, LaneId id);
    void park(Lane& lane, const PublishOutcome& outcome);
    void back_off(LaneId id, Lane& lane, SteadyTime now);
    void pop_front(Lane& lane);
    [[nodiscard]] Message dead_letter_of(const Job& job) const;

    const ForwardOptions options_;
    Random& random_;
    std::unordered_map<LaneId, Lane> lanes_;
    std::map<ConsumerKey, LaneId> by_key_;
    LaneId last_lane_ = 0;
    std::deque<LaneId> ready_;                 // may name lanes that are gone
    std::multimap<SteadyTime, LaneId> waits_;  // may name lanes that are gone
    std::set<ConsumerKey> parked_keys_;
    std::unordered_map<std::uint64_t, std::uint64_t> latest_;  // queue -> newest session seen
    std::unordered_map<std::uint64_t, std::uint64_t> gone_;    // queue -> newest session that was lost
    std::size_t out_ = 0;                                      // batches under way
    bool stopping_ = false;
    ForwardActions actions_;
    ForwardFigures figures_;
};

}  // namespace hufu::forward
