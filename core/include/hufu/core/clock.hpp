// Time as a port. Nothing in Hufu reads a clock or sleeps except through this (core/src/system.cpp is the one exception).
#pragma once

#include <chrono>
#include <stop_token>

namespace hufu {

/// Wall time, microseconds since 1970 UTC. For ids, `deliver_at` and people; may jump either way.
using SystemTime = std::chrono::sys_time<std::chrono::microseconds>;
/// Monotonic time. For time-outs, backoff and leases' trust windows. Never compared with a database's clock.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// Source of time. Implementations are safe to call from any thread.
class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual SystemTime system_now() const noexcept = 0;
    [[nodiscard]] virtual SteadyTime steady_now() const noexcept = 0;
    /// Blocks until `until` or a stop is asked for; returns at once if `until` has passed.
    virtual void sleep_until(SteadyTime until, std::stop_token stop) = 0;
};

/// The machine's clocks. One instance lives as long as the program.
[[nodiscard]] Clock& system_clock() noexcept;

}  // namespace hufu
