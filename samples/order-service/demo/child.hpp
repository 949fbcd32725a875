// A process of our own that never outlives us.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace shop::demo {

struct ChildOptions {
    std::string program;
    std::vector<std::string> arguments = {};
    std::vector<std::pair<std::string, std::string>> environment = {};  ///< on top of ours
    std::string log;                                                    ///< standard output and error are appended here
    int input = -1;                                                     ///< becomes standard input; -1: /dev/null
};

/// A started program. Killed by the destructor, and by the kernel when the thread that started it dies, so start
/// children from the thread that lives as long as they should. Not thread-safe.
class Child {
public:
    /// Throws `hufu::Exception` naming the program when it cannot be started.
    explicit Child(const ChildOptions& options);
    ~Child();
    Child(Child&& other) noexcept : pid_{std::exchange(other.pid_, -1)} {}
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void signal(int number) const noexcept;
    /// SIGKILL, and waits for the end.
    void kill() noexcept;
    /// SIGTERM, and waits; SIGKILL after `patience`.
    void end(std::chrono::milliseconds patience) noexcept;
    /// True once the process has ended (it is then reaped).
    [[nodiscard]] bool ended() noexcept;
    /// True if the process has stopped (SIGSTOP) since the last call.
    [[nodiscard]] bool stopped() noexcept;

private:
    pid_t pid_ = -1;
};

}  // namespace shop::demo
