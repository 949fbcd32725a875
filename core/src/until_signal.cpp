#include <hufu/core/until_signal.hpp>

#include <pthread.h>

#include <cstdlib>
#include <utility>

namespace hufu {

StopOnSignal::StopOnSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    thread_ = std::thread{[this] {
        int received = 0;
        sigwait(&signals_, &received);
        source_.request_stop();
        if (ending_) return;
        // Whoever does not want to wait for the drain asks twice.
        sigwait(&signals_, &received);
        if (!ending_) std::_Exit(128 + received);
    }};
}

StopOnSignal::~StopOnSignal() {
    ending_ = true;
    // Directed at this thread alone; it waits for exactly these signals.
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
}

ConsumerEnd run_until_signal(Consumer& consumer, const StopOnSignal& stop, Handler handler) {
    auto outcome = consumer.run(std::move(handler), stop.token());
    return {std::move(outcome), consumer.state()};
}

ConsumerEnd run_until_signal(Consumer& consumer, const StopOnSignal& stop, BatchHandler handler) {
    auto outcome = consumer.run(std::move(handler), stop.token());
    return {std::move(outcome), consumer.state()};
}

}  // namespace hufu
