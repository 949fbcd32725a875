// Runs handlers for what a subscription delivers.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/consumer_machine.hpp>
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
};

/// A thread pool that handles the deliveries of one subscription.
///
/// Threads: `run` from one thread at a time; the handler is called on up to `running_max` threads of the consumer's own,
/// with `Order::per_key` never at once for one key. `reopen` and `dead_keys` from any thread.
/// Lifetime: subscription and publisher are borrowed until `run` has returned.
/// Delivery: at least once. A message is acknowledged after its handler answered `done` or `already_done`, or after its dead
/// letter was confirmed; an exception of any type and an answer outside the enumeration count as `retry`. A message that
/// failed waits in memory for its next attempt while others flow.
/// Metrics, labelled by group: hufu_consumer_handled_total, _absorbed_total, _retried_total, _dead_total,
/// _dead_letter_failures_total, _overdue_total, _dropped_total, _in_flight, _held, _handler_seconds.
class Consumer {
public:
    /// Throws `Exception` (`invalid_argument`) when `validate(options)` refuses.
    Consumer(Subscription& subscription, Publisher& dead_letters, ConsumerOptions options,
             ConsumerEnvironment environment = {});
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    /// Receives and handles until `stop` is asked for or the subscription fails for good; then drains: running handlers
    /// finish, dead letters on their way are awaited, acknowledgements are handed over, the rest is dropped (and comes
    /// again). Success means stopped as asked; an error is the subscription's.
    Result<void> run(Handler handler, std::stop_token stop);

    /// Lets a key through again whose dead letter was dealt with. False: it was not dead.
    bool reopen(const ConsumerKey& key);
    /// Keys whose successors are dead-lettered.
    [[nodiscard]] std::vector<ConsumerKey> dead_keys() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // also held by dead letters on their way
};

}  // namespace hufu
