// What the consumer runner decides: which handler starts when, what is acknowledged, what becomes a dead letter.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
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
#include <hufu/core/handler.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/core/token_bucket.hpp>

namespace hufu {

/// The topic dead letters of `group` go to: "%DLQ%" + group.
[[nodiscard]] std::string dead_letter_topic(std::string_view group);

/// The unit of order: messages of one topic with the same, non-empty ordering key.
struct ConsumerKey {
    std::string topic;
    std::string ordering_key;
    friend auto operator<=>(const ConsumerKey&, const ConsumerKey&) = default;
};

/// How a group's members work. Every member should have the same.
struct ConsumerOptions {
    /// Names the dead-letter topic and the metrics; the subscription's group.
    std::string group = {};

    /// per_key: messages of a `ConsumerKey` are handled one after another, in delivery order; those without a key, and
    /// different keys, at the same time. concurrent: all at the same time, keys or not.
    enum class Order : std::uint8_t { per_key, concurrent } order = Order::per_key;

    /// What happens to the messages of a key behind a dead letter (per_key only): dead-lettered too, with the reason
    /// "behind a dead letter of its key", until the key is reopened, so that no effect overtakes the missing one; or
    /// handled as if nothing were missing. The memory of dead keys is this process's: hand the list to the next one in
    /// `dead_keys`.
    enum class Successors : std::uint8_t { dead_letter, let_through } successors = Successors::dead_letter;
    std::vector<ConsumerKey> dead_keys = {};

    std::size_t running_max = 8;  ///< handlers at the same time, each on a thread of its own
    /// Messages in memory: waiting, running, backing off, dying. When full, nothing is received until one is dealt with,
    /// so it must be well above the number of messages a failing key may collect during its ladder.
    std::size_t held_max = 4096;

    RetrySchedule retry = RetrySchedule::default_ladder();
    /// Between attempts to publish a dead letter, which end only when it is confirmed (an exhausted schedule keeps its last wait).
    RetrySchedule dead_letter_retry = RetrySchedule::capped(std::chrono::milliseconds{200}, std::chrono::seconds{30});

    /// A handler that runs longer is reported (log, metric); it is not interrupted, and its answer counts. 0: never.
    std::chrono::milliseconds handler_timeout{60'000};

    double rate_per_second = 0;  ///< handler starts (retries too), token bucket; 0: no limit
    std::uint64_t rate_burst = 1;
};

/// Refuses options that make no sense (no group, zero threads, held_max below running_max); names option, value and rule.
[[nodiscard]] Result<void> validate(const ConsumerOptions& options);

/// Names one held message between machine and shell.
using ConsumerJob = std::uint64_t;

/// What the shell must do. Pointers stay valid until the job's outcome was reported to the machine.
struct ConsumerActions {
    struct Start {
        ConsumerJob job = 0;
        const Delivery* delivery = nullptr;
        std::uint32_t attempt = 1;  ///< 1 for the first run; with those the broker counted
    };
    struct DeadLetter {
        ConsumerJob job = 0;
        const Message* message = nullptr;  ///< to publish; has the original id and key
    };
    /// For logs and metrics: trouble with a message, and what was decided.
    struct Notice {
        enum class Kind : std::uint8_t {
            retry,               ///< failed, waits for its next attempt
            dead,                ///< failed for good; the dead letter is confirmed
            dead_letter_failed,  ///< the dead letter was not confirmed; it is tried again
            overdue,             ///< its handler runs longer than `handler_timeout`
            dropped,             ///< not dealt with here: its queue was lost or the consumer stops
        } kind = Kind::retry;
        MessageId id = {};
        ConsumerKey key = {};
        std::uint32_t attempts = 0;  ///< handler runs so far, with those the broker counted
        std::string reason = {};
        std::chrono::milliseconds wait{0};  ///< before the next attempt, of retry and dead_letter_failed
    };

    std::vector<Start> start;
    std::vector<DeliveryTag> acknowledge;
    std::vector<DeadLetter> dead_letters;
    std::vector<Notice> notices;
    std::uint64_t done = 0;      ///< handlers that answered `done`
    std::uint64_t absorbed = 0;  ///< handlers that answered `already_done`
};

/// State machine of the consumer runner; owns no thread, socket or clock. Not thread-safe: the shell serialises calls.
/// Each event takes the steady time, which must not go back. Borrows `random`.
class ConsumerMachine {
public:
    ConsumerMachine(ConsumerOptions options, Random& random);
    ~ConsumerMachine();
    ConsumerMachine(const ConsumerMachine&) = delete;
    ConsumerMachine& operator=(const ConsumerMachine&) = delete;

    /// Takes received deliveries; call `lose` first with what the subscription lost meanwhile.
    [[nodiscard]] ConsumerActions deliver(std::vector<Delivery> deliveries, SteadyTime now);
    /// The handler of `job` returned.
    [[nodiscard]] ConsumerActions handled(ConsumerJob job, HandlerResult result, SteadyTime now);
    /// What became of the dead letter of `job`. Anything but confirmed is tried again.
    [[nodiscard]] ConsumerActions dead_letter_settled(ConsumerJob job, bool confirmed, std::string_view why, SteadyTime now);
    /// Another member has these queues: what has not started is dropped, what runs is no longer acknowledged.
    [[nodiscard]] ConsumerActions lose(std::span<const std::uint64_t> queues, SteadyTime now);
    /// Time passed (see `wake_at`).
    [[nodiscard]] ConsumerActions tick(SteadyTime now);
    /// Starts nothing more. Handlers that run finish and count; the rest is dropped, unacknowledged. Final.
    [[nodiscard]] ConsumerActions stop(SteadyTime now);
    /// Lets messages of a dead key through again, from the next delivery on. False: it was not dead.
    bool reopen(const ConsumerKey& key);

    /// How many deliveries there is room for.
    [[nodiscard]] std::size_t room() const noexcept;
    /// When `tick` has something to do; none: only other events matter.
    [[nodiscard]] std::optional<SteadyTime> wake_at() const noexcept;
    /// After `stop`: nothing runs and no dead letter is on its way.
    [[nodiscard]] bool finished() const noexcept;
    [[nodiscard]] std::size_t running() const noexcept { return running_; }
    [[nodiscard]] std::size_t held() const noexcept { return jobs_.size(); }
    [[nodiscard]] const std::set<ConsumerKey>& dead_keys() const noexcept { return dead_keys_; }

private:
    struct Job;
    struct Lane;
    struct KeyHash {
        std::size_t operator()(const ConsumerKey& key) const noexcept;
    };
    using Wakes = std::multimap<SteadyTime, ConsumerJob>;

    [[nodiscard]] bool belongs_to_another(const Delivery& delivery) const;
    void note_session(const Delivery& delivery, ConsumerActions& actions);
    void accept(Delivery delivery, ConsumerActions& actions);
    void activate(Job& job, ConsumerActions& actions);
    void start_ready(SteadyTime now, ConsumerActions& actions);
    void fail(Job& job, std::string reason, bool for_good, SteadyTime now, ConsumerActions& actions);
    void kill(Job& job, std::string reason, ConsumerActions& actions);
    void publish(Job& job, ConsumerActions& actions);
    void wake(Job& job, SteadyTime at);
    void cancel_wake(Job& job);
    void take_away(std::uint64_t queue, ConsumerActions& actions);
    void drop_all(std::vector<Job*> doomed, std::string_view reason, ConsumerActions& actions);
    void finish(Job& job, ConsumerActions& actions);
    void advance(Lane& lane, ConsumerActions& actions);
    [[nodiscard]] Job& find(ConsumerJob job);

    const ConsumerOptions options_;
    const std::string dead_letter_topic_;
    Random& random_;
    TokenBucket rate_;
    bool stopping_ = false;
    SteadyTime last_now_{};
    ConsumerJob last_job_ = 0;
    std::size_t running_ = 0;
    std::size_t publishing_ = 0;
    std::unordered_map<ConsumerJob, std::unique_ptr<Job>> jobs_;
    std::unordered_map<ConsumerKey, std::unique_ptr<Lane>, KeyHash> lanes_;  // keys with held messages
    std::deque<ConsumerJob> ready_;                                          // may name jobs that are gone
    Wakes wakes_;  // next attempts, next attempts to publish a dead letter, time-outs
    std::set<ConsumerKey> dead_keys_;
    std::unordered_map<std::uint64_t, std::uint64_t> sessions_;       // queue -> latest session seen
    std::unordered_map<std::uint64_t, std::uint64_t> lost_sessions_;  // queue -> session that was lost
};

}  // namespace hufu
