// hufu-broker as a process of its own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <hufu/rocketmq/client.hpp>

extern char** environ;

namespace hufu::rocketmq {

/// hufu-broker on a folder of its own; restarted on the same port.
class BrokerUnderTest {
public:
    /// `accounts`: an access file; empty: everybody may do everything.
    explicit BrokerUnderTest(const std::string& accounts = {}) {
        std::string pattern = ::testing::TempDir() + "hufu-rocketmq-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        if (!accounts.empty()) {
            access_file_ = folder_ + "/access.toml";
            std::ofstream{access_file_} << accounts;
        }
        start();
    }
    ~BrokerUnderTest() {
        kill();
        std::filesystem::remove_all(folder_);
    }
    void start() {
        int ready[2];
        ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
        std::vector<std::string> arguments{
            HUFU_BROKER_PROGRAM, "--data", folder_ + "/data", "--listen", "127.0.0.1:" + port_, "--unix", folder_ + "/s",
            "--ready-fd",        "3"};
        if (!access_file_.empty()) {
            arguments.insert(arguments.end(), {"--acl", access_file_});
        }
        std::vector<char*> argv;
        for (std::string& argument : arguments) {
            argv.push_back(argument.data());
        }
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, ready[1], 3);
        ASSERT_EQ(::posix_spawn(&pid_, HUFU_BROKER_PROGRAM, &actions, nullptr, argv.data(), environ), 0);
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(ready[1]);
        std::string line;
        char character = 0;
        while (::read(ready[0], &character, 1) == 1 && character != '\n') {
            line.push_back(character);
        }
        ::close(ready[0]);
        ASSERT_NE(line.rfind(':'), std::string::npos) << "the broker did not start";
        port_ = line.substr(line.rfind(':') + 1);
    }
    void kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }
    [[nodiscard]] ClientOptions tcp() const { return {.name_servers = {"127.0.0.1:" + port_}}; }
    [[nodiscard]] ClientOptions unix_socket() const { return {.name_servers = {"unix:" + folder_ + "/s"}}; }

private:
    std::string folder_;
    std::string access_file_;
    std::string port_ = "0";
    pid_t pid_ = -1;
};

}  // namespace hufu::rocketmq
