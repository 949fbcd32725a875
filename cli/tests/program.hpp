// Runs the program under test and keeps what it said.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

extern char** environ;

namespace hufu::cli {

struct Said {
    int exit_code = -1;
    std::string out;
    std::string err;
};

class Program {
public:
    Program() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-cli-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"no temporary folder at " + name};
        }
        folder_ = name;
    }
    ~Program() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_ + "/" + name; }

    /// Starts it; what it says goes to `out` and `err` in the folder.
    [[nodiscard]] pid_t start(const std::vector<std::string>& words) const {
        std::vector<char*> argv{const_cast<char*>(HUFU_PROGRAM)};
        for (const auto& word : words) {
            argv.push_back(const_cast<char*>(word.c_str()));
        }
        argv.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC;
        posix_spawn_file_actions_addopen(&files, 0, input_.c_str(), O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, 1, file("out").c_str(), flags, 0600);
        posix_spawn_file_actions_addopen(&files, 2, file("err").c_str(), flags, 0600);
        pid_t child = -1;
        const int problem = ::posix_spawn(&child, HUFU_PROGRAM, &files, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        if (problem != 0) {
            throw std::runtime_error{"cannot start " HUFU_PROGRAM};
        }
        return child;
    }

    [[nodiscard]] Said wait(pid_t child) const {
        int status = 0;
        ::waitpid(child, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of("out"), text_of("err")};
    }

    /// What the programs started from now on read on standard input.
    void give(const std::string& text) {
        input_ = file("in");
        std::ofstream{input_} << text;
    }

    [[nodiscard]] Said run(const std::vector<std::string>& words) const { return wait(start(words)); }

private:
    [[nodiscard]] std::string text_of(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream{file(name)}.rdbuf();
        return text.str();
    }

    std::string folder_;
    std::string input_ = "/dev/null";
};

}  // namespace hufu::cli
