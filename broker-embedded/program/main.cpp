// hufu-broker: the bundled broker as a process.
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stop_token>
#include <string>
#include <thread>

#include <hufu/broker/server.hpp>
#include <hufu/core/log.hpp>

#include "options.hpp"

namespace {

constexpr int exit_failure = 1;

int fail(const std::string& text) {
    std::fprintf(stderr, "hufu-broker: %s\n", text.c_str());
    return exit_failure;
}

bool tell_ready(int descriptor, const std::string& address) {
    const std::string line = address + "\n";
    const bool whole = ::write(descriptor, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    ::close(descriptor);
    return whole;
}

/// Connections are files: as many as the system allows this process.
void raise_file_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int count, char** arguments) {
    using namespace hufu;
    auto parsed = broker::parse_program_options({arguments + 1, static_cast<std::size_t>(count > 0 ? count - 1 : 0)});
    if (!parsed) return fail(parsed.error().text());
    if (parsed->help) {
        std::fputs(broker::program_help(), stdout);
        return 0;
    }

    // Blocked in every thread that is started from here on; one thread waits for them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    // A file that may not grow and a reader of our log lines that is gone are errors of calls, not reasons to die.
    ::signal(SIGXFSZ, SIG_IGN);
    ::signal(SIGPIPE, SIG_IGN);

    raise_file_limit();

    const auto log = stderr_log("hufu-broker", parsed->log_level, parsed->log_format, system_clock());
    MetricsRegistry metrics;
    auto server = broker::Server::open(parsed->server, system_clock(), system_random(), metrics, *log);
    if (!server) return fail(server.error().text());

    std::string where = (*server)->tcp_address();
    if (const std::string& path = (*server)->unix_address(); !path.empty()) where += (where.empty() ? "" : " and ") + path;
    if (const std::string& address = (*server)->metrics_address(); !address.empty())
        std::fprintf(stderr, "metrics on http://%s/metrics\n", address.c_str());
    std::fprintf(stderr, "listening on %s\n", where.c_str());
    if (parsed->ready_fd && !tell_ready(*parsed->ready_fd, (*server)->tcp_address()))
        return fail("cannot write to --ready-fd " + std::to_string(*parsed->ready_fd) + ": " + std::strerror(errno));

    std::stop_source stop;
    const std::jthread on_signal{[&] {
        int number = SIGHUP;
        while (sigwait(&signals, &number) == 0 && number == SIGHUP) (*server)->reload();
        stop.request_stop();
    }};
    const auto ran = (*server)->run(stop.get_token());
    if (!stop.stop_requested()) ::kill(::getpid(), SIGTERM);  // releases the waiting thread
    return ran ? 0 : fail(ran.error().text());
}
