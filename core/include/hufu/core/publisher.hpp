// The way out: handing messages to a broker.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>

namespace hufu {

enum class PublishStatus : std::uint8_t {
    in_doubt,   ///< it may be at the broker or not; publishing it again with the same id is right
    confirmed,  ///< the broker holds it as durably as the broker was asked to
    not_sent,   ///< certainly not at the broker; may be published again
    rejected,   ///< the broker or the adapter will never accept it; see the error
};

/// What became of one message. Starts, and after any lost answer stays, `in_doubt`.
struct PublishOutcome {
    PublishStatus status = PublishStatus::in_doubt;
    Error error = {};            ///< meaningful unless confirmed
    std::string broker_id = {};  ///< the broker's own name for the stored copy, where it has one
};

/// Hands messages to a broker. Thread-safe.
///
/// Order: messages of one topic and ordering key are handed to the broker in call order. Once one of them ends other
/// than `confirmed`, every later message of that key that was accepted before `done` reported the failure is not sent
/// and ends `not_sent`. So the confirmed messages of a key are always a prefix, and publishing again from the first
/// unconfirmed one keeps the order.
///
/// Delivery: at least once. Nothing is repeated inside; repeating is the caller's decision (the relay's).
class Publisher {
public:
    /// Called exactly once per `publish`, from any thread (also from inside `publish`), when every outcome is final.
    using Done = std::function<void()>;

    virtual ~Publisher() =
        default;  ///< Ends what is in flight as `in_doubt` or `not_sent`, calls every `done`, then returns.

    /// Starts publishing `batch`; `outcomes[i]` belongs to `batch[i]`. Both are borrowed until `done` has been called.
    /// Never blocks for longer than it takes to queue. Several batches may be in flight.
    virtual void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) = 0;
};

}  // namespace hufu
