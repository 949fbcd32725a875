#include <hufu/core/assert.hpp>
#include <hufu/core/outage_detector.hpp>

#include <set>
#include <string>

namespace hufu {

Result<void> validate(const OutageOptions& options) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, "OutageOptions::" + std::move(text)};
    };
    if (!options.enabled()) return {};
    if (options.attempts > 10'000) {
        return refuse("attempts is " + std::to_string(options.attempts) + ": at most 10000 (0: no detector)");
    }
    if (!(options.failed_share > 0 && options.failed_share <= 1)) {
        return refuse("failed_share is " + std::to_string(options.failed_share) + ": above 0, at most 1");
    }
    if (options.keys_min == 0 || options.keys_min > options.attempts) {
        return refuse("keys_min is " + std::to_string(options.keys_min) + ": from 1 to attempts (" +
                      std::to_string(options.attempts) + "), else no outage is ever seen");
    }
    if (options.window.count() <= 0) return refuse("window is not above 0 ms");
    return {};
}

bool OutageDetector::answered(std::size_t key, bool failed, SteadyTime now) {
    if (!options_.enabled() || on()) return false;
    answers_.push_back({now, key, failed});
    while (answers_.size() > options_.attempts || now - answers_.front().at > options_.window) answers_.pop_front();
    if (!failed || answers_.size() < options_.attempts) return false;

    std::size_t failures = 0;
    std::set<std::size_t> keys;
    for (const auto& answer : answers_) {
        if (!answer.failed) continue;
        ++failures;
        keys.insert(answer.key);
    }
    if (static_cast<double>(failures) < options_.failed_share * static_cast<double>(answers_.size())) return false;
    if (keys.size() < options_.keys_min) return false;
    since_ = now;
    evidence_from_ = answers_.front().at;
    answers_.clear();
    probes_failed_ = 0;
    probing_ = false;
    plan_probe(now);
    return true;
}

bool OutageDetector::probe_answered(bool failed, SteadyTime now) {
    HUFU_ASSERT(on() && probing_);
    probing_ = false;
    if (failed) {
        plan_probe(now);
        return false;
    }
    since_.reset();
    return true;
}

std::optional<SteadyTime> OutageDetector::probe_at() const noexcept {
    return on() && !probing_ ? std::optional{probe_at_} : std::nullopt;
}

void OutageDetector::plan_probe(SteadyTime now) {
    auto failures = ++probes_failed_;
    auto wait = options_.probe.wait_after(failures, random_);
    while (!wait && failures > 1) wait = options_.probe.wait_after(--failures, random_);
    wait_ = wait.value_or(std::chrono::seconds{30});
    probe_at_ = now + wait_;
}

}  // namespace hufu
