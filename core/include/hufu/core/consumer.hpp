// Runs handlers for what a subscription delivers.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/consumer_ports.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu {

/// What a consumer uses of its surroundings; all borrowed for its life.
struct ConsumerEnvironment {
    Clock& clock = system_clock();
    Random& random = system_random();  ///< used under the consumer's lock
    Log& log = no_log();
    MetricsRegistry* metrics = nullptr;
    ParkedKeys* parked_keys = nullptr;    ///< of the group; null: parked keys are forgotten with the process
    AttemptRows* attempt_rows = nullptr;  ///< of the group; null: a message that ends the process does so for ever
};

/// How a consumer stands.
struct ConsumerState {
    std::size_t running = 0;   ///< handler calls
    std::size_t held = 0;      ///< messages in memory
    std::size_t dropped = 0;   ///< let go since the run began (its queue was lost, or the stop): they come again
    bool outage = false;       ///< nearly everything fails: only probes run
    double adaptive_rate = 0;  ///< messages per second; 0: there is no adaptive rate
};

/// A thread pool that handles the deliveries of one subscription.
///
/// Threads: `run` from one thread at a time; the handler is called on up to `running_max` threads of the consumer's own,
/// with `Order::per_key` never at once for one key. `reopen`, `dead_keys` and `state` from any thread.
/// Lifetime: subscription and publisher are borrowed until `run` has returned; the handler, where `run` ended with `timeout`,
/// until the consumer's destructor has.
/// Delivery: at least once. A message is acknowledged after its handler answered `done` or `already_done`, or after its dead
/// letter was confirmed; an exception of any type and an answer outside the enumeration count as `retry`. A message that
/// failed waits in memory for its next attempt while others flow.
/// Metrics, labelled by group: hufu_consumer_handled_total, _absorbed_total, _retried_total, _excused_total, _dead_total,
/// _dead_letter_failures_total, _overdue_total, _dropped_total, _outages_total, _killed_before_total, _port_failures_total,
/// _outage, _in_flight, _held, _parked_keys, _adaptive_rate, _handler_seconds.
class Consumer {
public:
    /// Throws `Exception` (`invalid_argument`) when `validate(options)` refuses.
    Consumer(Subscription& subscription, Publisher& dead_letters, ConsumerOptions options,
             ConsumerEnvironment environment = {});
    /// Waits for handlers that a drain left running.
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    /// Receives and handles until `stop` is asked for or the subscription fails for good; then drains: running handlers
    /// finish, dead letters on their way are awaited, acknowledgements are handed over, the rest is dropped (and comes
    /// again). Success means stopped as asked; an error is the subscription's, or `timeout`/fatal: handlers still ran after
    /// `drain_max`. Their answers are then ignored, and the process should end without waiting for them (`std::_Exit`).
    Result<void> run(Handler handler, std::stop_token stop);
    /// The same with up to `batch_max` messages a call.
    Result<void> run(BatchHandler handler, std::stop_token stop);

    /// Lets a key through again whose dead letter was dealt with, in `ParkedKeys` too. False: it was not dead. Errors are
    /// those of `ParkedKeys`; the key is parked as before then.
    Result<bool> reopen(const ConsumerKey& key);
    /// Keys whose successors are dead-lettered.
    [[nodiscard]] std::vector<ConsumerKey> dead_keys() const;
    [[nodiscard]] ConsumerState state() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // also held by dead letters on their way and by threads
};

}  // namespace hufu
