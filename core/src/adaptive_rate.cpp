#include <hufu/core/adaptive_rate.hpp>

#include <algorithm>
#include <string>

namespace hufu {
namespace {

/// A rate that was not needed says nothing about what a higher one would do.
constexpr double used_share = 0.7;

}  // namespace

Result<void> validate(const AdaptiveRateOptions& options) {
    const auto refuse = [](const std::string& name, double value, const std::string& rule) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "AdaptiveRateOptions::" + name + " is " + std::to_string(value) + ": " + rule};
    };
    if (!(options.max_per_second >= 0)) {
        return refuse("max_per_second", options.max_per_second, "0 (no adaptive rate) or more");
    }
    if (!options.enabled()) return {};
    if (!(options.min_per_second > 0 && options.min_per_second <= options.max_per_second)) {
        return refuse("min_per_second", options.min_per_second, "above 0 and at most max_per_second");
    }
    if (options.target_latency.count() <= 0) {
        return refuse("target_latency", static_cast<double>(options.target_latency.count()), "above 0 ms");
    }
    if (options.window.count() <= 0) return refuse("window", static_cast<double>(options.window.count()), "above 0 ms");
    if (!(options.failed_share_max >= 0 && options.failed_share_max <= 1)) {
        return refuse("failed_share_max", options.failed_share_max, "from 0 to 1");
    }
    if (!(options.increase > 0 && options.increase <= 1)) return refuse("increase", options.increase, "above 0, at most 1");
    if (!(options.decrease > 0 && options.decrease < 1)) return refuse("decrease", options.decrease, "between 0 and 1");
    return {};
}

AdaptiveRate::AdaptiveRate(const AdaptiveRateOptions& options) noexcept
    : options_{options}, per_second_{options.min_per_second} {}

bool AdaptiveRate::answered(std::uint64_t messages, std::chrono::nanoseconds latency, bool failed, SteadyTime now) noexcept {
    if (calls_ == 0 && now - window_began_ > 2 * options_.window)
        window_began_ = now - options_.window / 2;  // idle till now
    ++calls_;
    failed_ += failed ? 1 : 0;
    messages_ += messages;
    busy_ += latency;
    const std::chrono::duration<double> passed = now - window_began_;
    if (passed < options_.window) return false;

    const auto calls = static_cast<double>(calls_);
    const bool bad = std::chrono::duration<double>(busy_).count() / calls >
                         std::chrono::duration<double>(options_.target_latency).count() ||
                     static_cast<double>(failed_) / calls > options_.failed_share_max;
    const bool used = static_cast<double>(messages_) >= used_share * per_second_ * passed.count();
    const double before = per_second_;
    if (bad) {
        per_second_ = std::max(options_.min_per_second, per_second_ * options_.decrease);
    } else if (used) {
        per_second_ = std::min(options_.max_per_second, per_second_ + options_.increase * options_.max_per_second);
    }
    window_began_ = now;
    calls_ = failed_ = messages_ = 0;
    busy_ = {};
    return per_second_ != before;
}

}  // namespace hufu
