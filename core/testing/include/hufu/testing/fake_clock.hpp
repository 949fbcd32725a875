// A clock that stands still until a test moves it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>

#include <hufu/core/clock.hpp>

namespace hufu::testing {

/// Starts at 2026-01-01 00:00 UTC, steady time one hour. Safe from any thread. `advance` moves both times and wakes who sleeps;
/// `step_system` moves wall time alone, either way, as a bad time server would.
class FakeClock final : public Clock {
public:
    /// What `sleep_until` does: wait for `advance`, or move the clock itself (single-threaded tests, simulation).
    enum class Sleep : unsigned char { waits, advances };

    explicit FakeClock(Sleep sleep = Sleep::waits) : sleep_{sleep} {}

    [[nodiscard]] SystemTime system_now() const noexcept override {
        const std::lock_guard lock{mutex_};
        return system_;
    }
    [[nodiscard]] SteadyTime steady_now() const noexcept override {
        const std::lock_guard lock{mutex_};
        return steady_;
    }
    void sleep_until(SteadyTime until, std::stop_token stop) override {
        std::unique_lock lock{mutex_};
        if (sleep_ == Sleep::advances) {
            if (until > steady_) move(until - steady_);
            return;
        }
        ++sleepers_;
        changed_.notify_all();
        changed_.wait(lock, stop, [&] { return steady_ >= until; });
        --sleepers_;
        changed_.notify_all();
    }

    void advance(std::chrono::nanoseconds by) {
        const std::lock_guard lock{mutex_};
        move(by);
    }
    void step_system(std::chrono::microseconds by) {
        const std::lock_guard lock{mutex_};
        system_ += by;
    }
    /// Blocks until at least `count` threads are asleep here.
    void wait_for_sleepers(std::size_t count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return sleepers_ >= count; });
    }

private:
    void move(std::chrono::nanoseconds by) {
        steady_ += by;
        remainder_ += by;
        const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(remainder_);
        system_ += whole;
        remainder_ -= whole;
        changed_.notify_all();
    }

    const Sleep sleep_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    SystemTime system_{std::chrono::microseconds{1'767'225'600'000'000}};  // guarded by mutex_
    SteadyTime steady_{std::chrono::hours{1}};                             // guarded by mutex_
    std::chrono::nanoseconds remainder_{0};                                // of system_, below its unit; guarded by mutex_
    std::size_t sleepers_ = 0;                                             // guarded by mutex_
};

}  // namespace hufu::testing
