#include <hufu/test_support/process.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace hufu::test_support {
namespace {

/// Runs between fork and exec: async-signal-safe calls only. Returns errno of what failed.
int become(const ProcessOptions& options, const char* output, char* const* arguments, pid_t parent) {
    if (options.new_session) ::setsid();
    const int null_in = options.standard_input >= 0 ? options.standard_input : ::open("/dev/null", O_RDONLY);
    if (null_in < 0 || ::dup2(null_in, STDIN_FILENO) < 0) return errno;
    const int out = ::open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0 || ::dup2(out, STDOUT_FILENO) < 0 || ::dup2(out, STDERR_FILENO) < 0) return errno;
    if (options.uid != 0 && ::geteuid() == 0) {
        if (::setgroups(0, nullptr) != 0 || ::setgid(options.gid) != 0 || ::setuid(options.uid) != 0) return errno;
    }
    if (options.die_with_parent) {
        // After setuid, which clears it; the parent may be gone already.
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
        if (::getppid() != parent) return ECHILD;
    }
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execv(arguments[0], arguments);
    return errno;
}

}  // namespace

pid_t spawn(const ProcessOptions& options) {
    std::vector<char*> arguments;
    arguments.reserve(options.arguments.size() + 1);
    for (const auto& argument : options.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    const std::string output = options.output.empty() ? "/dev/null" : options.output;

    int report[2];
    if (::pipe2(report, O_CLOEXEC) != 0) throw std::runtime_error{std::string{"pipe: "} + std::strerror(errno)};
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw std::runtime_error{std::string{"fork: "} + std::strerror(errno)};
    if (pid == 0) {
        const int failure = become(options, output.c_str(), arguments.data(), parent);
        [[maybe_unused]] const auto written = ::write(report[1], &failure, sizeof failure);
        ::_exit(127);
    }
    ::close(report[1]);
    int failure = 0;
    const auto got = ::read(report[0], &failure, sizeof failure);
    ::close(report[0]);
    if (got == static_cast<ssize_t>(sizeof failure)) {
        wait_for(pid);
        throw std::runtime_error{"cannot start " + options.arguments.front() + ": " + std::strerror(failure)};
    }
    return pid;
}

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void run(ProcessOptions options) {
    const int status = wait_for(spawn(options));
    if (status != 0) {
        throw std::runtime_error{options.arguments.front() + " ended with status " + std::to_string(status) + ": " +
                                 (options.output.empty() ? std::string{"no output kept"} : file_tail(options.output))};
    }
}

std::string file_tail(const std::string& path, std::size_t bytes) {
    std::ifstream file{path, std::ios::binary | std::ios::ate};
    if (!file) return {};
    const auto size = static_cast<std::size_t>(file.tellg());
    const auto begin = size - std::min(size, bytes);
    file.seekg(static_cast<std::streamoff>(begin));
    std::string text(size - begin, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
}

}  // namespace hufu::test_support
