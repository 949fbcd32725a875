// The one file that reads the machine's clocks, sleeps, and asks the operating system for chance.
#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>

#include <sys/random.h>

#include <condition_variable>
#include <mutex>

namespace hufu {
namespace {

class MachineClock final : public Clock {
public:
    SystemTime system_now() const noexcept override {
        return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
    }
    SteadyTime steady_now() const noexcept override { return std::chrono::steady_clock::now(); }
    void sleep_until(SteadyTime until, std::stop_token stop) override {
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock{mutex};
        wake.wait_until(lock, stop, until, [] { return false; });
    }
};

class OperatingSystemRandom final : public Random {
public:
    std::uint64_t next() noexcept override {
        // One system call per 32 numbers, per thread.
        struct Pool {
            std::uint64_t numbers[32];
            unsigned left = 0;
        };
        thread_local Pool pool;
        if (pool.left == 0) {
            while (::getrandom(pool.numbers, sizeof pool.numbers, 0) != static_cast<ssize_t>(sizeof pool.numbers)) {
                // Interrupted before the generator was seeded; 256 bytes are otherwise never cut short.
            }
            pool.left = 32;
        }
        return pool.numbers[--pool.left];
    }
};

}  // namespace

Clock& system_clock() noexcept {
    static MachineClock clock;
    return clock;
}

Random& system_random() noexcept {
    static OperatingSystemRandom random;
    return random;
}

}  // namespace hufu
