// Whether it makes sense to send to a broker now.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>

namespace hufu::degradation {

/// The window moves in steps of a tenth of itself.
inline constexpr std::int64_t slices_of_window = 10;

struct BreakerOptions {
    /// Answers are judged over this time.
    std::chrono::milliseconds window{2'000};
    /// Opens when so many of the window's answers failed, or were slower than `slow_after`, in percent …
    std::uint32_t failed_percent = 50;
    std::uint32_t slow_percent = 80;
    std::chrono::milliseconds slow_after{1'000};
    /// … of at least so many.
    std::uint32_t answers_min = 20;
    /// Opens when something is under way and no answer at all came for so long. Short, because it is also how long callers wait
    /// for a broker that died while nothing was under way; a broker that often pauses for longer wants more.
    std::chrono::milliseconds silence_max{80};
    /// A refused or reset connection opens at once, without a window.
    bool open_when_connection_fails = true;
    /// How long it stays open before the next probe. Never exhausted.
    RetrySchedule probe_after = RetrySchedule::capped(std::chrono::milliseconds{250}, std::chrono::seconds{5}).jitter(0.2);
    /// Successful probes, one after another, until it closes.
    std::uint32_t probes_to_close = 3;
};

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const BreakerOptions& options);

enum class BreakerState : std::uint8_t { closed, open, half_open };
[[nodiscard]] std::string_view to_string(BreakerState state) noexcept;

/// How a request ended, as far as the health of the broker goes. What the broker refused for a reason of its own (a message
/// too large, a missing right) was answered: `answered`.
enum class Answer : std::uint8_t {
    answered,
    failed,             ///< no answer in time, overloaded, an internal error
    connection_failed,  ///< refused, reset, unreachable
};

/// Permission to send one request. Give it back to `record` or `release`.
struct BreakerPermit {
    std::uint64_t turn = 0;
    bool probe = false;
    SteadyTime sent_at = {};
};

/// closed -> open when the broker fails -> half_open after a wait, one probe at a time -> closed after some successes, or
/// open again with a longer wait. A machine: no clock, thread or I/O; time must not go back. Not thread-safe.
class CircuitBreaker {
public:
    /// Borrows `random` for its life.
    CircuitBreaker(BreakerOptions options, Random& random);

    /// May a request be sent now? While half open: one at a time.
    [[nodiscard]] std::optional<BreakerPermit> admit(SteadyTime now);
    /// Whether `admit` would say yes.
    [[nodiscard]] bool admits(SteadyTime now) const noexcept;
    /// The request ended. An answer to a request of an earlier turn shows that the broker is back: the next probe is due.
    void record(const BreakerPermit& permit, Answer answer, SteadyTime now);
    /// The request was not made after all.
    void release(const BreakerPermit& permit) noexcept;
    /// Looks at the time: probes that are due, a broker that keeps silent. `oldest_unanswered`: when the oldest request that
    /// is still under way was sent.
    void tick(std::optional<SteadyTime> oldest_unanswered, SteadyTime now);

    /// When `tick` has something to do, if nothing happens before.
    [[nodiscard]] std::optional<SteadyTime> next_tick(std::optional<SteadyTime> oldest_unanswered) const noexcept;
    [[nodiscard]] BreakerState state() const noexcept { return state_; }
    /// Since when it is in this state.
    [[nodiscard]] SteadyTime since() const noexcept { return since_; }
    /// How often it opened from closed.
    [[nodiscard]] std::uint64_t openings() const noexcept { return openings_; }
    /// What made it open last, for people. A literal.
    [[nodiscard]] std::string_view reason() const noexcept { return reason_; }

private:
    struct Slice {
        std::int64_t number = -1;  // of the slice since the clock's beginning
        std::uint32_t answers = 0;
        std::uint32_t failed = 0;
        std::uint32_t slow = 0;
    };

    [[nodiscard]] Slice& slice_of(SteadyTime now);
    void judge(SteadyTime now);
    void open(std::string_view reason, SteadyTime now);
    void enter(BreakerState state, SteadyTime now);

    const BreakerOptions options_;
    Random& random_;
    BreakerState state_ = BreakerState::closed;
    SteadyTime since_{};
    SteadyTime last_answer_{};
    std::array<Slice, slices_of_window> slices_{};
    std::uint64_t turn_ = 1;  // changes with every state
    std::uint32_t failed_probes_ = 0;
    std::uint32_t good_probes_ = 0;
    std::optional<SteadyTime> probe_sent_{};  // one is under way
    SteadyTime probe_at_{};                   // while open
    std::uint64_t openings_ = 0;
    std::string_view reason_;
};

}  // namespace hufu::degradation
