// What the consumer runner decides: which handler starts when, what is acknowledged, what becomes a dead letter.
#pragma once

#include <chrono>
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

#include <hufu/core/adaptive_rate.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/core/consumer_options.hpp>
#include <hufu/core/consumer_ports.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/outage_detector.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/core/token_bucket.hpp>

namespace hufu {

/// Names one held message between machine and shell.
using ConsumerJob = std::uint64_t;

/// What the machine may ask its shell for.
struct ConsumerFacilities {
    bool parked_keys = false;   ///< there are `ParkedKeys`
    bool attempt_rows = false;  ///< there are `AttemptRows`
};

/// What the shell must do. Pointers stay valid until the job's outcome was reported to the machine.
struct ConsumerActions {
    struct Start {
        ConsumerJob job = 0;
        const Delivery* delivery = nullptr;
        std::uint32_t attempt = 1;  ///< 1 for the first run; with those the broker counted
        ConsumerJob batch = 0;      ///< the first job of the same handler call; successive entries
    };
    struct DeadLetter {
        ConsumerJob job = 0;
        const Message* message = nullptr;    ///< to publish; has the original id and key
        std::optional<ParkedKey> park = {};  ///< to park before that, in `ParkedKeys`
    };
    /// To ask `AttemptRows` about; `attempts_seen` takes the answer.
    struct Attempt {
        ConsumerJob job = 0;
        MessageId id = {};
        bool again = false;  ///< `starts_again` instead of `look`: it has a row, and is to be started now
    };
    /// For logs and metrics: trouble with a message, and what was decided.
    struct Notice {
        enum class Kind : std::uint8_t {
            retry,               ///< failed, waits for its next attempt
            dead,                ///< failed for good; the dead letter is confirmed
            dead_letter_failed,  ///< the dead letter was not confirmed; it is tried again
            overdue,             ///< its handler runs longer than `handler_timeout`
            dropped,             ///< not dealt with here: its queue was lost or the consumer stops
            outage_began,        ///< nearly everything fails; this message was the last one that was counted
            outage_goes_on,      ///< the probe failed
            outage_ended,        ///< the probe was answered
            alone,               ///< its handler was started before and never answered: it will run alone
        } kind = Kind::retry;
        MessageId id = {};
        ConsumerKey key = {};
        std::uint32_t attempts = 0;  ///< handler runs so far, with those the broker counted
        std::string reason = {};
        std::chrono::milliseconds wait{0};  ///< before the next attempt, dead letter or probe
    };

    std::vector<Start> start;
    std::vector<DeliveryTag> acknowledge;
    std::vector<DeadLetter> dead_letters;
    std::vector<Attempt> attempts;
    std::vector<MessageId> attempts_over;
    std::vector<Notice> notices;
    std::uint64_t done = 0;      ///< messages that were answered `done`
    std::uint64_t absorbed = 0;  ///< messages that were answered `already_done`
    std::uint64_t excused = 0;   ///< failures that do not count as attempts, because of an outage
};

/// State machine of the consumer runner; owns no thread, socket or clock. Not thread-safe: the shell serialises calls.
/// Each event takes the steady time, which must not go back. Borrows `random`.
class ConsumerMachine {
public:
    ConsumerMachine(ConsumerOptions options, Random& random, ConsumerFacilities facilities = {});
    ~ConsumerMachine();
    ConsumerMachine(const ConsumerMachine&) = delete;
    ConsumerMachine& operator=(const ConsumerMachine&) = delete;

    /// Takes received deliveries; call `lose` first with what the subscription lost meanwhile, and `parked_loaded` when
    /// `wants_parked_keys` says so.
    [[nodiscard]] ConsumerActions deliver(std::vector<Delivery> deliveries, SteadyTime now);
    /// Some of these are of a queue whose parked keys are not known yet.
    [[nodiscard]] bool wants_parked_keys(std::span<const Delivery> deliveries) const;
    /// All parked keys of the group, as just read.
    void parked_loaded(std::vector<ParkedKey> keys);
    /// The handler call of `job`, alone in its batch, returned.
    [[nodiscard]] ConsumerActions handled(ConsumerJob job, HandlerResult result, SteadyTime now);
    struct Answer {
        ConsumerJob job = 0;
        HandlerResult result = {};
    };
    /// A handler call returned: one answer for each job of its batch, in order.
    [[nodiscard]] ConsumerActions handled(std::vector<Answer> answers, SteadyTime now);
    /// What `AttemptRows` said of these: how often each was started without an answer (0 for `again`).
    struct AttemptsSeen {
        ConsumerJob job = 0;
        std::uint32_t unanswered = 0;
    };
    [[nodiscard]] ConsumerActions attempts_seen(std::span<const AttemptsSeen> seen, SteadyTime now);
    /// What became of the dead letter of `job` (and of parking its key). Anything but confirmed is tried again.
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
    [[nodiscard]] std::size_t running() const noexcept { return running_; }  ///< handler calls
    [[nodiscard]] std::size_t held() const noexcept { return jobs_.size(); }
    [[nodiscard]] std::set<ConsumerKey> dead_keys() const;
    [[nodiscard]] std::size_t dead_key_count() const noexcept { return dead_keys_.size(); }
    [[nodiscard]] bool in_outage() const noexcept { return outage_.on(); }
    /// The adaptive rate now; 0: there is none.
    [[nodiscard]] double adaptive_rate() const noexcept;

private:
    struct Job;
    struct Lane;
    struct KeyHash {
        std::size_t operator()(const ConsumerKey& key) const noexcept;
    };
    using Wakes = std::multimap<SteadyTime, ConsumerJob>;
    struct Session {
        std::uint64_t number = 0;
        std::size_t doubtful = 0;  // so many of its next messages may have been started by another process
    };

    // queues that come and go
    [[nodiscard]] bool belongs_to_another(const Delivery& delivery) const;
    void note_session(const Delivery& delivery, ConsumerActions& actions);
    void take_away(std::uint64_t queue, ConsumerActions& actions);
    void drop_all(std::vector<Job*> doomed, std::string_view reason, ConsumerActions& actions);

    // one message's way
    void accept(Delivery delivery, ConsumerActions& actions);
    void activate(Job& job, ConsumerActions& actions);
    void make_ready(Job& job);
    void finish(Job& job, ConsumerActions& actions);
    void advance(Lane& lane, ConsumerActions& actions);
    [[nodiscard]] Job& find(ConsumerJob job);
    [[nodiscard]] bool is_dead(const Job& job) const;
    void wake(Job& job, SteadyTime at);
    void cancel_wake(Job& job);

    // what starts (consumer_start.cpp)
    void start_ready(SteadyTime now, ConsumerActions& actions);
    void start_normally(SteadyTime now, ConsumerActions& actions);
    void start_probe(SteadyTime now, ConsumerActions& actions);
    void start_batch(Job& first, std::size_t most, SteadyTime now, ConsumerActions& actions);
    void start(Job& job, ConsumerJob batch, ConsumerActions& actions);
    [[nodiscard]] Job* first_ready();
    [[nodiscard]] Job* best_probe() const;
    [[nodiscard]] bool take_token(SteadyTime now);
    [[nodiscard]] SteadyTime token_at(SteadyTime now) const noexcept;

    // what failed (consumer_failures.cpp)
    void settle(Job& job, HandlerResult result, SteadyTime now, ConsumerActions& actions);
    void learn(const std::vector<Answer>& answers, SteadyTime now, ConsumerActions& actions);
    void begin_outage(const Job& last, ConsumerActions& actions);
    void end_attempt(Job& job, ConsumerActions& actions);
    void fail(Job& job, std::string reason, bool for_good, SteadyTime now, ConsumerActions& actions);
    void put_back(Job& job, ConsumerActions& actions);
    void kill(Job& job, std::string reason, ConsumerActions& actions);
    void publish(Job& job, ConsumerActions& actions);

    const ConsumerOptions options_;
    const ConsumerFacilities facilities_;
    const std::string dead_letter_topic_;
    Random& random_;
    TokenBucket rate_;
    AdaptiveRate adaptive_;
    TokenBucket adaptive_bucket_;
    OutageDetector outage_;
    std::optional<ConsumerJob> probe_;  // the job whose handler tells whether the outage is over
    std::optional<ConsumerJob> alone_;  // nothing else may run beside it
    bool stopping_ = false;
    SteadyTime last_now_{};
    ConsumerJob last_job_ = 0;
    std::size_t running_ = 0;
    std::size_t publishing_ = 0;
    std::unordered_map<ConsumerJob, std::unique_ptr<Job>> jobs_;
    std::unordered_map<ConsumerJob, std::size_t> batches_;                   // first job -> how many
    std::unordered_map<ConsumerKey, std::unique_ptr<Lane>, KeyHash> lanes_;  // keys with held messages
    std::deque<ConsumerJob> ready_;                                          // may name jobs that are gone
    Wakes wakes_;  // next attempts, next attempts to publish a dead letter, time-outs
    std::map<ConsumerKey, ParkedKey> dead_keys_;
    std::unordered_map<std::uint64_t, Session> sessions_;             // queue -> latest session seen
    std::unordered_map<std::uint64_t, std::uint64_t> lost_sessions_;  // queue -> session that was lost
};

}  // namespace hufu
