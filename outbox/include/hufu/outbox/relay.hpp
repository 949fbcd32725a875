// The relay: carries committed rows of one lane to a broker.
#pragma once

#include <memory>
#include <stop_token>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/outbox/relay_actions.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/outbox/wake.hpp>

namespace hufu::outbox {

/// `RelayMachine` with four threads, each with a connection of its own: one reads, one settles, one keeps the lease, one
/// serves parking lot and delayed rows. The caller of `run` decides and publishes. Several relays on one lane are right: one owns it, the others stand by.
///
/// Threads: `run` is called once; `wake` from any thread at any time.
/// Lifetime: borrows everything it is given.
/// Delivery: at least once, in order per (topic, ordering key); see `RelayMachine`.
class Relay final : public WakeHint {
public:
    Relay(Store& store, Publisher& publisher, RelayOptions options, Clock& clock, Random& random, MetricsRegistry& metrics);
    ~Relay() override;
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// Works until `stop` is asked for, then settles what the broker has confirmed, releases the lane and returns
    /// success. Returns an error only when it cannot go on (wrong schema, refused statement …). A database or broker that
    /// is away is waited for. Returns only after every message handed to the publisher has its outcome.
    Result<void> run(std::stop_token stop);

    /// There may be new rows: read now instead of at the next poll.
    void wake() noexcept override;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::outbox
