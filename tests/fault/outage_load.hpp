// Callers that publish while everything breaks, and how long each call took.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/publisher.hpp>

namespace hufu::fault {

/// One call of `publish` that ended.
struct CallSample {
    SteadyTime began{};
    std::chrono::nanoseconds took{0};
    enum class Where : std::uint8_t { broker, redis, journal, refused } where = Where::refused;
};

struct LoadOptions {
    unsigned callers = 4;
    unsigned keys_per_caller = 16;
    double per_second = 1'000;  ///< of all callers together
    std::string topic = "orders";
};

/// Each caller has keys of its own and publishes one message at a time, numbered per key: the next one of a key goes out when
/// the one before was accepted (confirmed by a broker, or spilled). A refused one is repeated under its id.
class OutageLoad {
public:
    /// Borrows the publisher.
    OutageLoad(Publisher& publisher, LoadOptions options);
    ~OutageLoad();
    OutageLoad(const OutageLoad&) = delete;
    OutageLoad& operator=(const OutageLoad&) = delete;

    /// Ends the callers; each finishes the message it is at.
    void stop();
    /// After `stop`.
    [[nodiscard]] std::vector<CallSample> samples() const;
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_; }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
    [[nodiscard]] const LoadOptions& options() const noexcept { return options_; }

private:
    void call(unsigned caller, const std::stop_token& stop);

    Publisher& publisher_;
    const LoadOptions options_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    std::atomic<std::uint64_t> accepted_ = 0;
    std::atomic<std::uint64_t> refused_ = 0;
    std::vector<std::vector<CallSample>> samples_;  // by caller
    std::vector<std::jthread> threads_;
};

/// What is asked of a list of calls.
[[nodiscard]] std::chrono::nanoseconds percentile(std::vector<std::chrono::nanoseconds> values, double part);

/// This process at one moment.
struct ProcessFigures {
    std::int64_t threads = 0;
    std::int64_t descriptors = 0;
    std::int64_t memory_kib = 0;
    void take_larger(const ProcessFigures& other) noexcept;
};
[[nodiscard]] ProcessFigures process_figures();

/// Looks at the process ten times a second, and keeps the largest of each figure of the current phase.
class FigureWatch {
public:
    FigureWatch();
    /// The largest since the last call.
    ProcessFigures take();

private:
    std::mutex mutex_;
    ProcessFigures largest_;  // guarded by mutex_
    std::jthread thread_;
};

}  // namespace hufu::fault
