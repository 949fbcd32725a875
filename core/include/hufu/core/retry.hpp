// How long to wait before trying again.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <hufu/core/random.hpp>

namespace hufu {

/// Waits between attempts: a fixed ladder, or doubling with a cap; both may be spread by jitter so that many waiters do
/// not come back together. A plain value.
class RetrySchedule {
public:
    using Duration = std::chrono::milliseconds;

    /// `steps[i]` before attempt i+2; afterwards exhausted. Default ladder of consumers: 16 steps, 10 s to 2 h.
    static RetrySchedule ladder(std::vector<Duration> steps);
    static RetrySchedule default_ladder();
    /// first, 2×first, 4×first … never above `cap`; exhausted after `attempts_max` attempts (0: never).
    static RetrySchedule capped(Duration first, Duration cap, std::uint32_t attempts_max = 0);

    /// Spreads each wait uniformly over [wait × (1 − fraction), wait]; fraction in [0, 1].
    RetrySchedule& jitter(double fraction);

    /// The wait after `failed_attempts` (≥ 1) failures, or nothing when exhausted.
    [[nodiscard]] std::optional<Duration> wait_after(std::uint32_t failed_attempts, Random& random) const;
    /// Attempts in all, 0 when unlimited.
    [[nodiscard]] std::uint32_t attempts_max() const noexcept;

private:
    std::vector<Duration> steps_;
    Duration first_{0};
    Duration cap_{0};
    std::uint32_t attempts_max_ = 0;
    double jitter_ = 0.0;
};

}  // namespace hufu
