// Sends again what is overdue, on one thread.
#pragma once

#include <memory>
#include <stop_token>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/outbox/awaiting_machine.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

/// `AwaitingMachine` on the caller's thread and one connection. `Relay` runs one; run your own only where none does.
/// Borrows everything it is given. Delivery: see `AwaitingMachine`.
class Resender {
public:
    Resender(Store& store, Publisher& publisher, AwaitingOptions options, Clock& clock, Random& random,
             MetricsRegistry& metrics);
    ~Resender();
    Resender(const Resender&) = delete;
    Resender& operator=(const Resender&) = delete;

    /// Works until `stop` is asked for, reports what the broker has confirmed, returns success; an error only when it cannot
    /// go on (wrong schema, wrong options). Returns after every message handed to the publisher has its outcome.
    Result<void> run(std::stop_token stop);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::outbox
