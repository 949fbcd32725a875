// A sleep that another thread can end, on the Clock port.
#pragma once

#include <mutex>
#include <stop_token>

#include <hufu/core/clock.hpp>

namespace hufu {

/// One thread waits, any thread rings. A ring before the wait ends the next wait at once.
class Alarm {
public:
    explicit Alarm(Clock& clock) : clock_{clock} {}

    void wait_until(SteadyTime until) {
        const std::stop_token stopped_by_bell = token();
        clock_.sleep_until(until, stopped_by_bell);
        const std::lock_guard lock{mutex_};
        if (bell_.stop_requested()) bell_ = std::stop_source{};
    }

    void ring() {
        std::stop_source bell;
        {
            const std::lock_guard lock{mutex_};
            bell = bell_;
        }
        bell.request_stop();
    }

private:
    std::stop_token token() {
        const std::lock_guard lock{mutex_};
        return bell_.get_token();
    }

    Clock& clock_;
    std::mutex mutex_;
    std::stop_source bell_;  // guarded by mutex_; a rung one is replaced by the waiter
};

}  // namespace hufu
