// One guarded effect under a lease: the order of steps and what time does to them, decided without I/O.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/idempotency/lease.hpp>
#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

struct LeaseOptions {
    /// A holder that dies blocks its key for so long; a running one renews three times within it.
    std::chrono::milliseconds lease{30'000};
    /// A larger result is not kept: duplicates learn that the effect is done, without the bytes.
    std::size_t result_bytes_max = 64 * 1024;
    /// How long recording a finished effect is tried when the store does not answer.
    std::chrono::milliseconds complete_patience{2'000};
};

/// How it ended.
struct LeaseOutcome {
    enum class State : std::uint8_t {
        done,          ///< the effect took place, now
        already_done,  ///< by an earlier delivery; `result` is what was kept then
        in_progress,   ///< somebody else is running it; come again after `retry_after`
        conflict,      ///< the key was used with another payload
        retry,         ///< nothing remains of it that this guard knows of
        reject,        ///< it can never succeed
    };
    State state = State::retry;
    std::string result = {};
    std::string reason = {};
    std::chrono::milliseconds retry_after{0};
    bool lease_lost = false;      ///< done, but for a while the lease was not ours: another may have run the effect too
    bool recorded = false;        ///< done, and the store knows; otherwise a later duplicate runs the effect again
    bool result_dropped = false;  ///< the result was too large to keep

    /// What a consumer answers.
    [[nodiscard]] HandlerResult handled() const;
};

/// What the shell has to do next.
enum class LeaseAction : std::uint8_t { acquire, run_effect, complete, release, finished };

/// Acquire, run the effect while the lease is renewed, record the result under the token; or give the lease up.
///
/// Trust in a lease is counted on the steady clock from before the question that got it was sent, so a slow answer, or a
/// wall clock that is wrong or steps, never makes it longer than the store's own count.
///
/// Not thread-safe; one object per attempt. Borrows nothing.
class LeaseMachine {
public:
    LeaseMachine(LeaseRequest request, LeaseOptions options, std::chrono::milliseconds keep_for);

    [[nodiscard]] const LeaseRequest& request() const noexcept { return request_; }
    [[nodiscard]] LeaseAction next() const noexcept;
    /// When to do it: now, or later after a failed try.
    [[nodiscard]] std::optional<SteadyTime> not_before() const noexcept { return not_before_; }
    /// At `complete`: what to keep. Points into this machine.
    [[nodiscard]] LeaseResult to_keep() const noexcept;
    /// At `finished`.
    [[nodiscard]] const LeaseOutcome& outcome() const noexcept { return outcome_; }

    /// The question of `acquire` or `complete` is about to be sent.
    void asked(SteadyTime now);
    void seen(LeaseSeen seen);                        ///< `acquire` has answered
    void completed(LeaseKept kept);                   ///< `complete` has answered
    void released();                                  ///< `release` is done, or failed (the lease ends by itself)
    void failed(const Error& error, SteadyTime now);  ///< `acquire` or `complete` has failed
    void returned(EffectResult result);               ///< the effect has
    void threw(std::string what);

    // While the effect runs.
    [[nodiscard]] bool renewal_due(SteadyTime now) const noexcept;
    void renewed(LeaseKept kept, SteadyTime asked_at);
    void renewal_failed(SteadyTime now);
    /// Whether the lease is ours for all that is known: neither taken by another nor run out.
    [[nodiscard]] bool held(SteadyTime now) const noexcept;

private:
    void end_with(LeaseOutcome outcome);
    void trust_from(SteadyTime asked_at);

    LeaseRequest request_;
    LeaseOptions options_;
    std::chrono::milliseconds keep_for_;
    LeaseAction next_ = LeaseAction::acquire;
    std::optional<SteadyTime> not_before_;
    std::optional<SteadyTime> first_asked_;  // of the step that is being tried
    std::uint32_t tries_ = 0;                // of that step, failed
    SteadyTime trust_until_{};
    SteadyTime renew_at_{};
    bool taken_ = false;  // another has it
    bool effect_ran_ = false;
    LeaseOutcome outcome_;
};

}  // namespace hufu::idempotency
