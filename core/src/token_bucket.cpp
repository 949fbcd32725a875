#include <hufu/core/assert.hpp>
#include <hufu/core/token_bucket.hpp>

#include <algorithm>

namespace hufu {

TokenBucket::TokenBucket(double per_second, std::uint64_t burst) noexcept { change(per_second, burst); }

void TokenBucket::change(double per_second, std::uint64_t burst) noexcept {
    HUFU_ASSERT(per_second >= 0.0 && burst >= 1);
    interval_ = tolerance_ = {};
    if (per_second == 0.0) return;
    interval_ = std::chrono::nanoseconds{std::max<std::int64_t>(1, static_cast<std::int64_t>(1e9 / per_second))};
    tolerance_ = interval_ * static_cast<std::int64_t>(burst - 1);
}

bool TokenBucket::take(SteadyTime now) noexcept {
    if (unlimited()) return true;
    if (now < due_ - tolerance_) return false;
    due_ = std::max(due_, now) + interval_;
    return true;
}

SteadyTime TokenBucket::ready_at(SteadyTime now) const noexcept {
    return unlimited() ? now : std::max(now, due_ - tolerance_);
}

}  // namespace hufu
