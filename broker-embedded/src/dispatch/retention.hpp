// Giving up old messages: which, when, and whom it concerns.
#pragma once

#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/core/metrics.hpp>

namespace hufu::broker {

class DispatchState;
struct DispatcherOptions;

/// Whole segments of the log go, oldest first, when they are older than `keep_for` or the log is larger than `keep_bytes`
/// (DispatcherOptions). An alarm names what will go, and who has not read it, when 90 % of a limit are reached; another one
/// when it went. Nothing goes by age that was not announced a tenth of `keep_for` (an hour at most) before, by the steady
/// clock: a wall clock that jumps ahead deletes nothing at once.
/// Delayed messages that wait, and half messages without a verdict, are copied behind what goes.
class Retention {
public:
    Retention(const DispatcherOptions& options, MetricsRegistry& metrics);

    /// One bounded step.
    void tick(DispatchState& state, SteadyTime now);
    [[nodiscard]] SteadyTime next_at() const noexcept { return next_at_; }

private:
    void announce(DispatchState& state, SteadyTime now, SystemTime wall);
    [[nodiscard]] std::uint64_t due(const DispatchState& state, SteadyTime now, SystemTime wall) const;
    void give_up(DispatchState& state, std::uint64_t end);

    SteadyTime next_at_;
    /// What was said, ascending in both; of what is gone already, nothing is kept.
    struct Notice {
        std::uint64_t end = 0;  ///< log offset: all below was named
        SteadyTime at;
    };
    std::vector<Notice> notices_;

    Gauge& threatened_gauge_;
    Counter& deleted_bytes_;
    Counter& deleted_segments_;
};

}  // namespace hufu::broker
