// SIGTERM and SIGINT as a stop request.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <stop_token>
#include <thread>

namespace hufu::cli {

/// Made first in a command that serves, before other threads: they then leave these signals alone. The first signal asks
/// for a stop; a second one ends the process at once.
class StopOnSignal {
public:
    StopOnSignal();
    ~StopOnSignal();
    StopOnSignal(const StopOnSignal&) = delete;
    StopOnSignal& operator=(const StopOnSignal&) = delete;
    [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }

private:
    sigset_t signals_;
    std::stop_source source_;
    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

}  // namespace hufu::cli
