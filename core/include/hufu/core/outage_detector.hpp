// Tells an outage (everything fails) from a poisonous message (one thing fails).
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>

namespace hufu {

/// When everything counts as failing, and how it is then looked whether it still does.
struct OutageOptions {
    std::size_t attempts = 20;  ///< so many of the latest answers are looked at; 0: no detector
    double failed_share = 0.9;  ///< and this share of them failed
    std::size_t keys_min = 5;   ///< for at least so many different keys (a message without a key is one of its own)
    std::chrono::milliseconds window{600'000};  ///< older answers are forgotten
    /// Between the probes, each with one message. An exhausted schedule keeps its last wait.
    RetrySchedule probe = RetrySchedule::capped(std::chrono::seconds{1}, std::chrono::seconds{30}).jitter(0.2);
    [[nodiscard]] bool enabled() const noexcept { return attempts > 0; }
};

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const OutageOptions& options);

/// State machine: normal -> outage (probes now and then) -> normal at the first probe that is answered. Not thread-safe.
/// Borrows `random`.
class OutageDetector {
public:
    OutageDetector(const OutageOptions& options, Random& random) : options_{options}, random_{random} {}

    /// A handler answered for a message of `key`, outside an outage. True: with this an outage begins.
    [[nodiscard]] bool answered(std::size_t key, bool failed, SteadyTime now);
    /// The probe that was started has its answer. True: the outage is over.
    [[nodiscard]] bool probe_answered(bool failed, SteadyTime now);
    void probe_started() noexcept { probing_ = true; }

    [[nodiscard]] bool on() const noexcept { return since_.has_value(); }
    [[nodiscard]] bool probing() const noexcept { return probing_; }
    /// When the outage began.
    [[nodiscard]] std::optional<SteadyTime> since() const noexcept { return since_; }
    /// When the next probe may start; nothing outside an outage and while one runs.
    [[nodiscard]] std::optional<SteadyTime> probe_at() const noexcept;
    /// The oldest answer that was taken into account when the outage began: failures since then belong to it.
    [[nodiscard]] SteadyTime evidence_from() const noexcept { return evidence_from_; }
    /// The wait before the next probe, after a failed one or the beginning.
    [[nodiscard]] std::chrono::milliseconds wait() const noexcept { return wait_; }

private:
    struct Answer {
        SteadyTime at;
        std::size_t key = 0;
        bool failed = false;
    };
    void plan_probe(SteadyTime now);

    OutageOptions options_;
    Random& random_;
    std::deque<Answer> answers_;  // the latest, at most options_.attempts
    std::optional<SteadyTime> since_;
    SteadyTime evidence_from_{};
    SteadyTime probe_at_{};
    std::chrono::milliseconds wait_{0};
    std::uint32_t probes_failed_ = 0;
    bool probing_ = false;
};

}  // namespace hufu
