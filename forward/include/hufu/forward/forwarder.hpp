// The forwarder: carries what a subscription delivers to another broker.
#pragma once

#include <memory>
#include <stop_token>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/forward/forward_machine.hpp>

namespace hufu::forward {

/// What a forwarder uses of its surroundings; all borrowed for its life.
struct ForwardEnvironment {
    Clock& clock = system_clock();
    Random& random = system_random();  ///< used under the forwarder's lock
    Log& log = no_log();
    MetricsRegistry* metrics = nullptr;
};

/// `ForwardMachine` with a thread. With the bundled broker as the source this gives half messages to brokers that have none:
/// a half is invisible there until its transaction commits, so that only committed ones are forwarded, with the ids they
/// were sent with. Several forwarders of one group are right: they share the queues.
///
/// Threads: `run` is called once; `figures` and `reopen` from any thread.
/// Lifetime: source, target and dead letters are borrowed until `run` has returned.
/// Delivery: at least once, in order per (topic, ordering key); see `ForwardMachine`. A crash between the target's
/// confirmation and the source's position makes copies with the ids of the first: a consumer's guard absorbs them.
/// Metrics, labelled by group: hufu_forward_received_total, _forwarded_total, _retried_total, _dead_total, _stuck_total,
/// _dropped_total, _held, _keys_waiting.
class Forwarder {
public:
    /// `dead_letters` gets what the target rejects, in topic "%DLQ%" + group; the source's own broker is the natural one.
    /// Throws `Exception` (`invalid_argument`) when `validate(options)` refuses.
    Forwarder(Subscription& source, Publisher& target, Publisher& dead_letters, ForwardOptions options,
              ForwardEnvironment environment = {});
    ~Forwarder();
    Forwarder(const Forwarder&) = delete;
    Forwarder& operator=(const Forwarder&) = delete;

    /// Works until `stop` is asked for or the subscription fails for good; then waits for what is under way, acknowledges
    /// what was confirmed and returns. Success means stopped as asked; an error is the subscription's. Brokers that are away
    /// are waited for.
    Result<void> run(std::stop_token stop);

    [[nodiscard]] ForwardFigures figures() const;
    /// Lets a key through again whose dead letter was dealt with. False: it was not parked.
    bool reopen(const ConsumerKey& key);

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // also held by batches on their way
};

}  // namespace hufu::forward
