#include <hufu/core/assert.hpp>
#include <hufu/core/retry.hpp>

#include <algorithm>

namespace hufu {

RetrySchedule RetrySchedule::ladder(std::vector<Duration> steps) {
    RetrySchedule schedule;
    schedule.attempts_max_ = static_cast<std::uint32_t>(steps.size() + 1);
    schedule.steps_ = std::move(steps);
    return schedule;
}

RetrySchedule RetrySchedule::default_ladder() {
    using namespace std::chrono_literals;
    return ladder({10s, 30s, 1min, 2min, 3min, 4min, 5min, 6min, 7min, 8min, 9min, 10min, 20min, 30min, 1h, 2h});
}

RetrySchedule RetrySchedule::capped(Duration first, Duration cap, std::uint32_t attempts_max) {
    HUFU_ASSERT(first.count() > 0 && cap >= first);
    RetrySchedule schedule;
    schedule.first_ = first;
    schedule.cap_ = cap;
    schedule.attempts_max_ = attempts_max;
    return schedule;
}

RetrySchedule& RetrySchedule::jitter(double fraction) {
    HUFU_ASSERT(fraction >= 0.0 && fraction <= 1.0);
    jitter_ = fraction;
    return *this;
}

std::optional<RetrySchedule::Duration> RetrySchedule::wait_after(std::uint32_t failed_attempts, Random& random) const {
    HUFU_ASSERT(failed_attempts >= 1);
    if (attempts_max_ != 0 && failed_attempts >= attempts_max_) return std::nullopt;
    Duration wait = cap_;
    if (first_.count() == 0) {
        if (failed_attempts > steps_.size()) return std::nullopt;
        wait = steps_[failed_attempts - 1];
    } else {
        wait = first_;
        for (std::uint32_t doubling = 1; doubling < failed_attempts && wait < cap_; ++doubling)
            wait = std::min(wait * 2, cap_);
    }
    const auto spread = static_cast<std::int64_t>(static_cast<double>(wait.count()) * jitter_);
    if (spread > 0) wait -= Duration{static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(spread) + 1))};
    return wait;
}

std::uint32_t RetrySchedule::attempts_max() const noexcept { return attempts_max_; }

}  // namespace hufu
