// A limit on how often something may happen.
#pragma once

#include <chrono>
#include <cstdint>

#include <hufu/core/clock.hpp>

namespace hufu {

/// Token bucket: `burst` may happen at once, then `per_second` a second. A plain value, stepped by the caller's time; not
/// thread-safe.
class TokenBucket {
public:
    /// per_second 0: no limit.
    TokenBucket(double per_second, std::uint64_t burst) noexcept;

    /// Takes one token if there is one.
    [[nodiscard]] bool take(SteadyTime now) noexcept;
    /// When the next `take` will succeed: `now` or later.
    [[nodiscard]] SteadyTime ready_at(SteadyTime now) const noexcept;
    /// Another rate from now on. What was taken stays taken.
    void change(double per_second, std::uint64_t burst) noexcept;
    [[nodiscard]] bool unlimited() const noexcept { return interval_.count() == 0; }

private:
    // The generic cell rate algorithm: one time instead of a counter, so nothing drifts.
    std::chrono::nanoseconds interval_{0};
    std::chrono::nanoseconds tolerance_{0};
    SteadyTime due_{};
};

}  // namespace hufu
