// Programs that work until somebody ends them: SIGTERM and SIGINT as a stop request.
#pragma once

#include <atomic>
#include <csignal>
#include <stop_token>
#include <thread>

#include <hufu/core/consumer.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/handler.hpp>

namespace hufu {

/// SIGTERM and SIGINT ask for a stop; a second one ends the process at once (exit code 128 + signal).
///
/// Made first in `main`, before any other thread: it blocks both signals in the calling thread, threads and processes that are
/// started later inherit that, and a thread of its own waits for them (`sigwait`), so no code runs in a signal handler. Also
/// ignores SIGPIPE: a peer that hangs up is then an error of a call. One at a time; the signals stay blocked after its end.
class StopOnSignal {
public:
    StopOnSignal();
    ~StopOnSignal();
    StopOnSignal(const StopOnSignal&) = delete;
    StopOnSignal& operator=(const StopOnSignal&) = delete;
    /// From any thread; outlives this object.
    [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }

private:
    sigset_t signals_{};
    std::stop_source source_;
    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

/// How a consumer ended.
struct ConsumerEnd {
    Result<void> outcome;  ///< of `Consumer::run`
    /// `dropped`: received and not dealt with, or failed and waiting for another attempt; `running`: handler calls that
    /// outlasted `drain_max`. All of these messages come again.
    ConsumerState left = {};

    /// 0 after a clean stop, 1 otherwise.
    [[nodiscard]] int exit_code() const noexcept { return outcome ? 0 : 1; }
};

/// Runs `consumer` until a signal (or until its subscription fails for good), drains it for up to its `drain_max`, and tells what
/// was left. The subscription's destructor then hands over the last positions. With `left.running` above 0 end that first, and
/// the process by `std::_Exit`: handlers still run, and the consumer's destructor would wait for them.
[[nodiscard]] ConsumerEnd run_until_signal(Consumer& consumer, const StopOnSignal& stop, Handler handler);
/// The same with up to `batch_max` messages a call.
[[nodiscard]] ConsumerEnd run_until_signal(Consumer& consumer, const StopOnSignal& stop, BatchHandler handler);

}  // namespace hufu
