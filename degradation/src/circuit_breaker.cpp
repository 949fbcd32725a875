#include <hufu/degradation/circuit_breaker.hpp>

#include <algorithm>
#include <string>

namespace hufu::degradation {
namespace {

Error refuse(std::string text) { return {ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

Result<void> is_percent(std::string_view name, std::uint32_t value) {
    if (value >= 1 && value <= 100) {
        return {};
    }
    return refuse("breaker: " + std::string{name} + " is " + std::to_string(value) + ": 1 to 100 percent are possible");
}

Result<void> is_positive(std::string_view name, std::chrono::milliseconds value) {
    if (value > std::chrono::milliseconds{0}) {
        return {};
    }
    return refuse("breaker: " + std::string{name} + " is " + std::to_string(value.count()) + " ms: it must be above 0");
}

}  // namespace

Result<void> validate(const BreakerOptions& options) {
    for (const auto& checked :
         {is_percent("failed_percent", options.failed_percent), is_percent("slow_percent", options.slow_percent),
          is_positive("window", options.window), is_positive("slow_after", options.slow_after),
          is_positive("silence_max", options.silence_max)}) {
        if (!checked) {
            return checked;
        }
    }
    if (options.window < std::chrono::milliseconds{slices_of_window}) {
        return refuse("breaker: window is " + std::to_string(options.window.count()) + " ms: at least " +
                      std::to_string(slices_of_window) + " ms are needed");
    }
    if (options.answers_min == 0 || options.probes_to_close == 0) {
        return refuse("breaker: answers_min and probes_to_close must be at least 1");
    }
    if (options.probe_after.attempts_max() != 0) {
        return refuse("breaker: probe_after ends after " + std::to_string(options.probe_after.attempts_max()) +
                      " attempts: a broker must be probed until it is back");
    }
    return {};
}

std::string_view to_string(BreakerState state) noexcept {
    switch (state) {
        case BreakerState::closed: return "closed";
        case BreakerState::open: return "open";
        case BreakerState::half_open: return "half_open";
    }
    return "closed";
}

CircuitBreaker::CircuitBreaker(BreakerOptions options, Random& random) : options_{std::move(options)}, random_{random} {}

bool CircuitBreaker::admits(SteadyTime now) const noexcept {
    switch (state_) {
        case BreakerState::closed: return true;
        case BreakerState::open: return now >= probe_at_;
        case BreakerState::half_open: return !probe_sent_.has_value();
    }
    return false;
}

std::optional<BreakerPermit> CircuitBreaker::admit(SteadyTime now) {
    tick({}, now);
    if (!admits(now)) {
        return {};
    }
    const bool probe = state_ == BreakerState::half_open;
    if (probe) {
        probe_sent_ = now;
    }
    return BreakerPermit{.turn = turn_, .probe = probe, .sent_at = now};
}

void CircuitBreaker::release(const BreakerPermit& permit) noexcept {
    if (permit.probe && permit.turn == turn_) {
        probe_sent_.reset();
    }
}

void CircuitBreaker::record(const BreakerPermit& permit, Answer answer, SteadyTime now) {
    if (answer == Answer::answered) {
        last_answer_ = now;
    }
    if (permit.turn != turn_) {
        // Of an earlier turn. Failures of then say nothing new; an answer does.
        if (answer == Answer::answered && state_ == BreakerState::open) {
            enter(BreakerState::half_open, now);
        }
        return;
    }
    if (state_ == BreakerState::closed) {
        Slice& slice = slice_of(now);
        ++slice.answers;
        slice.failed += answer == Answer::answered ? 0 : 1;
        slice.slow += answer == Answer::answered && now - permit.sent_at > options_.slow_after ? 1 : 0;
        if (answer == Answer::connection_failed && options_.open_when_connection_fails) {
            open("a connection was refused or lost", now);
        } else {
            judge(now);
        }
        return;
    }
    probe_sent_.reset();
    if (answer != Answer::answered) {
        open("a probe failed", now);
    } else if (++good_probes_ >= options_.probes_to_close) {
        failed_probes_ = 0;
        slices_ = {};
        enter(BreakerState::closed, now);
    }
}

void CircuitBreaker::tick(std::optional<SteadyTime> oldest_unanswered, SteadyTime now) {
    if (state_ == BreakerState::open && now >= probe_at_) {
        enter(BreakerState::half_open, now);
    }
    if (state_ == BreakerState::half_open && probe_sent_ && now - *probe_sent_ >= options_.silence_max) {
        open("a probe was not answered", now);
    }
    if (state_ == BreakerState::closed && oldest_unanswered &&
        now - std::max(*oldest_unanswered, last_answer_) >= options_.silence_max) {
        open("the broker keeps silent", now);
    }
}

std::optional<SteadyTime> CircuitBreaker::next_tick(std::optional<SteadyTime> oldest_unanswered) const noexcept {
    switch (state_) {
        case BreakerState::open: return probe_at_;
        case BreakerState::half_open:
            if (probe_sent_) {
                return *probe_sent_ + options_.silence_max;
            }
            return {};
        case BreakerState::closed:
            if (oldest_unanswered) {
                return std::max(*oldest_unanswered, last_answer_) + options_.silence_max;
            }
            return {};
    }
    return {};
}

CircuitBreaker::Slice& CircuitBreaker::slice_of(SteadyTime now) {
    const auto number = now.time_since_epoch() / (std::chrono::nanoseconds{options_.window} / slices_of_window);
    Slice& slice = slices_[static_cast<std::size_t>(number) % slices_.size()];
    if (slice.number != number) {
        slice = {.number = number};
    }
    return slice;
}

void CircuitBreaker::judge(SteadyTime now) {
    const std::int64_t newest = slice_of(now).number;
    std::uint64_t answers = 0;
    std::uint64_t failed = 0;
    std::uint64_t slow = 0;
    for (const Slice& slice : slices_) {
        if (slice.number > newest - slices_of_window) {
            answers += slice.answers;
            failed += slice.failed;
            slow += slice.slow;
        }
    }
    if (answers < options_.answers_min) {
        return;
    }
    if (failed * 100 >= answers * options_.failed_percent) {
        open("too many failures", now);
    } else if (slow * 100 >= answers * options_.slow_percent) {
        open("answers are too slow", now);
    }
}

void CircuitBreaker::open(std::string_view reason, SteadyTime now) {
    if (state_ == BreakerState::closed) {
        ++openings_;
        failed_probes_ = 0;
    }
    reason_ = reason;
    const auto wait = options_.probe_after.wait_after(++failed_probes_, random_);
    probe_at_ = now + wait.value_or(std::chrono::milliseconds{1'000});
    enter(BreakerState::open, now);
}

void CircuitBreaker::enter(BreakerState state, SteadyTime now) {
    state_ = state;
    since_ = now;
    ++turn_;
    good_probes_ = 0;
    probe_sent_.reset();
}

}  // namespace hufu::degradation
