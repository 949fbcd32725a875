// A rate that follows how the handlers fare: up while they are quick, down when they slow or fail.
#pragma once

#include <chrono>
#include <cstdint>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu {

/// Bounds and taste of an `AdaptiveRate`.
struct AdaptiveRateOptions {
    double max_per_second = 0;  ///< 0: no adaptive rate
    double min_per_second = 1;  ///< never slower than this, so that recovery is seen
    /// Mean time in the handler that is still fine: above it whatever stands behind the handlers is taken to be busy.
    std::chrono::milliseconds target_latency{100};
    double failed_share_max = 0.1;            ///< more failures than this also count as busy
    double increase = 0.05;                   ///< after a good window: plus this share of `max_per_second`
    double decrease = 0.7;                    ///< after a bad window: times this
    std::chrono::milliseconds window{1'000};  ///< how often the rate is thought over
    [[nodiscard]] bool enabled() const noexcept { return max_per_second > 0; }
};

/// Refuses bounds that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const AdaptiveRateOptions& options);

/// Valley filling by additive increase, multiplicative decrease: starts at the minimum, climbs while handlers answer in time
/// and the rate is really used, falls when they do not. A plain value, stepped by the caller's time; not thread-safe.
class AdaptiveRate {
public:
    explicit AdaptiveRate(const AdaptiveRateOptions& options) noexcept;

    /// A handler answered for `messages` messages after `latency`. True: the rate has changed.
    bool answered(std::uint64_t messages, std::chrono::nanoseconds latency, bool failed, SteadyTime now) noexcept;
    [[nodiscard]] double per_second() const noexcept { return per_second_; }

private:
    AdaptiveRateOptions options_;
    double per_second_;
    SteadyTime window_began_{};
    std::uint64_t calls_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t messages_ = 0;
    std::chrono::nanoseconds busy_{0};
};

}  // namespace hufu
