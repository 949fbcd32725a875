// How the members of a consumer group work.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/adaptive_rate.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/outage_detector.hpp>
#include <hufu/core/retry.hpp>

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
    /// handled as if nothing were missing. The memory of dead keys is this process's, unless the consumer is given
    /// `ParkedKeys`: then it is the group's.
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

    double rate_per_second = 0;  ///< messages handed to handlers (retries too), token bucket; 0: no limit
    std::uint64_t rate_burst = 1;
    AdaptiveRateOptions adaptive_rate = {};  ///< a second limit, which follows the handlers' latency and failures

    /// When nearly everything fails, nothing more is tried but one message now and then, failures do not count as attempts,
    /// and no message becomes a dead letter, until one is answered again.
    OutageOptions outage = {};

    /// Messages that one call of a `BatchHandler` is given at most.
    std::size_t batch_max = 1;
    /// different_keys: no two of one key in a batch, so that each answer stands for itself. key_runs: also successive messages
    /// of a key, in order; the handler must do nothing for those behind one of their key that it answers with a failure.
    enum class BatchOf : std::uint8_t { different_keys, key_runs } batch_of = BatchOf::different_keys;

    /// With `AttemptRows`: a message whose handler was started so often without ever answering (the process died each time)
    /// becomes a dead letter.
    std::uint32_t kills_max = 3;

    /// How long a stop waits for handlers that run and dead letters on their way; 0: as long as they take.
    std::chrono::milliseconds drain_max{0};

    /// With `ParkedKeys`: how often it is looked whether a key was reopened elsewhere.
    std::chrono::milliseconds parked_keys_every{10'000};
};

/// Refuses options that make no sense (no group, zero threads, held_max below running_max); names option, value and rule.
[[nodiscard]] Result<void> validate(const ConsumerOptions& options);

}  // namespace hufu
