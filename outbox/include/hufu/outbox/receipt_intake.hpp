// Takes receipts off a topic into the book.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

struct IntakeOptions {
    std::size_t batch = 1'000;            ///< most receipts in one transaction
    std::chrono::milliseconds wait{200};  ///< longest time in one `receive`
    /// While the database does not take them; never exhausted.
    RetrySchedule store_retry =
        RetrySchedule::capped(std::chrono::milliseconds{50}, std::chrono::milliseconds{2'000}).jitter(0.2);
};

/// A consumer of receipts: what it received is acknowledged when the book has it, one transaction per batch. A batch whose
/// acknowledgement was lost comes again and changes nothing.
///
/// What is no receipt, and receipts for messages or groups that the book does not know (another sender's, on a shared topic),
/// are counted, logged and acknowledged: they could never be used.
class ReceiptIntake {
public:
    /// Borrows everything. `log` may be null.
    ReceiptIntake(Store& store, Subscription& subscription, IntakeOptions options, Clock& clock, Random& random,
                  MetricsRegistry& metrics, Log* log = nullptr);
    ~ReceiptIntake();
    ReceiptIntake(const ReceiptIntake&) = delete;
    ReceiptIntake& operator=(const ReceiptIntake&) = delete;

    /// Works until `stop` is asked for. An error only when it cannot go on (wrong schema, no right to the topic).
    Result<void> run(std::stop_token stop);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::outbox
