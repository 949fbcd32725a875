#include "child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

extern char** environ;  // NOLINT: POSIX gives it no header

namespace shop::demo {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (auto& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

std::vector<std::string> environment_with(const ChildOptions& options) {
    std::vector<std::string> result;
    for (char** entry = environ; *entry != nullptr; ++entry) result.emplace_back(*entry);
    for (const auto& [name, value] : options.environment) result.push_back(name + "=" + value);
    return result;
}

}  // namespace

Child::Child(const ChildOptions& options) {
    // Everything that allocates is done before the fork: other threads may hold the allocator's locks.
    std::vector<std::string> arguments{options.program};
    arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
    auto environment = environment_with(options);
    const auto argv = pointers(arguments);
    const auto envp = pointers(environment);
    if (::access(options.program.c_str(), X_OK) != 0) {
        throw hufu::Exception{
            {hufu::ErrorCode::not_found, hufu::Disposition::fatal,
             "program " + options.program + ": " + std::strerror(errno) + "; build all programs first (./dev build)"}};
    }
    const int log = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(125);  // it died before we could ask for its signal
        // A group of its own: ^C goes to the parent, which ends its children in order.
        ::setpgid(0, 0);
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::dup2(options.input >= 0 ? options.input : null, STDIN_FILENO);
        ::dup2(log, STDOUT_FILENO);
        ::dup2(log, STDERR_FILENO);
        ::execve(argv[0], argv.data(), envp.data());
        ::_exit(126);
    }
    const int error = errno;
    ::close(log);
    ::close(null);
    if (pid_ < 0) {
        throw hufu::Exception{{hufu::ErrorCode::unavailable, hufu::Disposition::retry,
                               "program " + options.program + " cannot be started: " + std::strerror(error)}};
    }
}

Child::~Child() { kill(); }

Child& Child::operator=(Child&& other) noexcept {
    if (this != &other) {
        kill();
        pid_ = std::exchange(other.pid_, -1);
    }
    return *this;
}

void Child::signal(int number) const noexcept {
    if (pid_ > 0) ::kill(pid_, number);
}

void Child::kill() noexcept {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
}

void Child::end(std::chrono::milliseconds patience) noexcept {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGCONT);
    ::kill(pid_, SIGTERM);
    auto& clock = hufu::system_clock();
    const auto until = clock.steady_now() + patience;
    while (!ended() && clock.steady_now() < until) clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{5}, {});
    kill();
}

bool Child::ended() noexcept {
    if (pid_ <= 0) return true;
    if (::waitpid(pid_, nullptr, WNOHANG) != pid_) return false;
    pid_ = -1;
    return true;
}

bool Child::stopped() noexcept {
    siginfo_t info{};
    return pid_ > 0 && ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == pid_;
}

}  // namespace shop::demo
