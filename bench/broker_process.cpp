#include "broker_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>
#include <vector>

extern char** environ;

namespace hufu::bench {

namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> result;
    for (std::string& word : words) {
        result.push_back(word.data());
    }
    result.push_back(nullptr);
    return result;
}

/// Our own environment, and what makes `syncs` count.
std::vector<std::string> environment_with(const test_support::SyncCounter* syncs) {
    std::vector<std::string> result;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        result.emplace_back(*variable);
    }
    if (syncs != nullptr) {
        result.push_back("LD_PRELOAD=" + test_support::SyncCounter::library());
        result.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
        result.push_back(syncs->environment());
    }
    return result;
}

}  // namespace

Result<BrokerProcess> BrokerProcess::start(const std::string& program, const std::string& folder,
                                           const std::vector<std::string>& flags, const test_support::SyncCounter* syncs) {
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
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const std::vector<char*> argv = pointers(arguments);
    std::vector<std::string> variables = environment_with(syncs);
    const std::vector<char*> environment = pointers(variables);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ready[1], child_ready);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder + ".stderr").c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0644);
    BrokerProcess process;
    const SteadyTime begin = system_clock().steady_now();
    const int failed = ::posix_spawn(&process.pid_, program.c_str(), &actions, nullptr, argv.data(), environment.data());
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
