#include "signals.hpp"

#include <pthread.h>

namespace hufu::cli {

StopOnSignal::StopOnSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);  // a peer that hangs up is an error of a call, not of the process
    thread_ = std::thread{[this] {
        int received = 0;
        sigwait(&signals_, &received);
        source_.request_stop();
        if (ending_) {
            return;
        }
        // Whoever does not want to wait for the drain asks twice.
        sigwait(&signals_, &received);
        if (!ending_) {
            std::_Exit(128 + received);
        }
    }};
}

StopOnSignal::~StopOnSignal() {
    ending_ = true;
    // Directed at this thread alone; it waits for exactly these signals.
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
}

}  // namespace hufu::cli
