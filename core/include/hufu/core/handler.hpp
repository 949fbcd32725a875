// What a user's handler says when it is done with a message.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/subscription.hpp>

namespace hufu {

/// The explicit answer of a handler. An exception, whatever its type, counts as `retry`.
enum class Handled : unsigned char {
    done,          ///< the effect is durable; acknowledge
    already_done,  ///< a guard saw the message before; acknowledge, count as absorbed
    retry,         ///< try again on the retry schedule
    reject,        ///< it can never succeed; dead-letter now
};

/// Called by the consumer runner, on one of its threads. `reason`, where set, goes into logs and dead letters.
struct HandlerResult {
    Handled handled = Handled::retry;
    std::string reason = {};
    HandlerResult() = default;
    HandlerResult(Handled value) : handled{value} {}  // NOLINT(google-explicit-constructor): `return Handled::done;`
    HandlerResult(Handled value, std::string why) : handled{value}, reason{std::move(why)} {}
};

using Handler = std::function<HandlerResult(const Delivery&)>;

/// Called with 1 to `ConsumerOptions::batch_max` messages; gives one answer for each, in the same order. An exception, or another
/// number of answers, counts as `retry` for all of them.
using BatchHandler = std::function<std::vector<HandlerResult>(std::span<const Delivery* const>)>;

}  // namespace hufu
