#include "broker_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

extern char** environ;

namespace hufu::bench {

Result<BrokerProcess> BrokerProcess::start(const std::string& program, const std::string& folder) {
    const auto refuse = [&](const std::string& why) {
        return Error{ErrorCode::unavailable, Disposition::fatal, "cannot start " + program + " on " + folder + ": " + why};
    };
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) {
        return refuse("no pipe");
    }
    constexpr int child_ready = 3;
    std::vector<std::string> arguments{
        program, "--data", folder, "--listen", "127.0.0.1:0", "--ready-fd", std::to_string(child_ready)};
    std::vector<char*> argv;
    for (std::string& argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ready[1], child_ready);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder + ".stderr").c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0644);
    BrokerProcess process;
    const SteadyTime begin = system_clock().steady_now();
    const int failed = ::posix_spawn(&process.pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ready[1]);
    std::string address;
    if (failed == 0) {
        constexpr int start_timeout_ms = 60'000;
        pollfd waiting{.fd = ready[0], .events = POLLIN, .revents = 0};
        char buffer[128];
        while (address.find('\n') == std::string::npos && ::poll(&waiting, 1, start_timeout_ms) > 0) {
            const ssize_t count = ::read(ready[0], buffer, sizeof buffer);
            if (count <= 0) {
                break;
            }
            address.append(buffer, static_cast<std::size_t>(count));
        }
    }
    process.start_ms_ = std::chrono::duration<double, std::milli>(system_clock().steady_now() - begin).count();
    ::close(ready[0]);
    const std::size_t colon = address.rfind(':');
    if (failed != 0 || colon == std::string::npos) {
        return refuse("it did not say that it accepts connections; see " + folder + ".stderr");
    }
    process.port_ = static_cast<std::uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10));
    return process;
}

BrokerProcess::BrokerProcess(BrokerProcess&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)}, port_{other.port_}, start_ms_{other.start_ms_} {}

BrokerProcess& BrokerProcess::operator=(BrokerProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    port_ = other.port_;
    start_ms_ = other.start_ms_;
    return *this;
}

BrokerProcess::~BrokerProcess() { kill(); }

double BrokerProcess::rss_anon_mb() const {
    std::ifstream status{"/proc/" + std::to_string(pid_) + "/status"};
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) {
            return static_cast<double>(std::strtoul(line.c_str() + 8, nullptr, 10)) * 1024 / 1e6;
        }
    }
    return 0;
}

int BrokerProcess::wait() {
    int status = -1;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
}

void BrokerProcess::kill() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        wait();
    }
}

bool BrokerProcess::stop() {
    if (pid_ <= 0) {
        return false;
    }
    ::kill(pid_, SIGTERM);
    const int status = wait();
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace hufu::bench
