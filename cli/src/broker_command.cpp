#include "command.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace hufu::cli {

int run_broker(std::span<const std::string> arguments) {
    std::error_code problem;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", problem);
    const auto program = (self.parent_path() / "hufu-broker").string();
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const auto& argument : arguments) {
        argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    std::fprintf(stderr, "hufu: cannot run the broker program \"%s\": %s; install it beside this program\n", program.c_str(),
                 std::strerror(errno));
    return exit_failure;
}

}  // namespace hufu::cli
