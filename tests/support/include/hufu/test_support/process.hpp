// Child processes of tests: started as another user, always ended.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace hufu::test_support {

struct ProcessOptions {
    std::vector<std::string> arguments;  ///< the first is the program's path
    std::string output = {};             ///< file that gets standard output and error; empty: /dev/null
    uid_t uid = 0;                       ///< become this user first, where we are root; 0: stay
    gid_t gid = 0;
    int standard_input = -1;      ///< becomes standard input; -1: /dev/null
    bool die_with_parent = true;  ///< SIGKILL when the starting thread ends
    bool new_session = false;     ///< own session and process group, so that ^C and group kills pass it by
};

/// Starts a process and returns its pid. Throws std::runtime_error when it cannot be started.
[[nodiscard]] pid_t spawn(const ProcessOptions& options);

/// Waits for the end of `pid`; returns the exit status, or 128 + signal.
int wait_for(pid_t pid);

/// Starts, waits, and throws std::runtime_error with the output's tail unless the status is 0.
void run(ProcessOptions options);

/// The last `bytes` of a file, or an empty text.
[[nodiscard]] std::string file_tail(const std::string& path, std::size_t bytes = 2000);

}  // namespace hufu::test_support
