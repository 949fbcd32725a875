#include "child.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace shop::demo {
namespace {

ChildOptions shell(const std::string& script) {
    return {.program = "/bin/sh", .arguments = {"-c", script}, .log = testing::TempDir() + "child_test.log"};
}

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

template <class Condition>
bool becomes_true(Condition condition) {
    auto& clock = hufu::system_clock();
    const auto until = clock.steady_now() + std::chrono::seconds{10};
    while (!condition()) {
        if (clock.steady_now() > until) return false;
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{2}, {});
    }
    return true;
}

TEST(Child, IsGoneWithItsObject) {
    pid_t pid = 0;
    {
        Child child{shell("exec sleep 60")};
        pid = child.pid();
        EXPECT_FALSE(child.ended());
    }
    EXPECT_FALSE(alive(pid));
}

TEST(Child, TellsWhenItEndedAndWhenItStopped) {
    Child stops{shell("kill -STOP $$; exec sleep 60")};
    EXPECT_TRUE(becomes_true([&] { return stops.stopped(); }));
    EXPECT_FALSE(stops.stopped()) << "told once";
    Child ends{shell("exit 3")};
    EXPECT_TRUE(becomes_true([&] { return ends.ended(); }));
}

TEST(Child, WritesToItsLogWithTheEnvironmentGiven) {
    auto options = shell("echo \"say $WORD\"");
    options.log = testing::TempDir() + "child_environment.log";
    std::filesystem::remove(options.log);
    options.environment = {{"WORD", "tea"}};
    Child child{options};
    EXPECT_TRUE(becomes_true([&] { return child.ended(); }));
    std::string line;
    std::ifstream log{options.log};
    std::getline(log, line);
    EXPECT_EQ(line, "say tea");
}

TEST(Child, DiesWithTheProcessThatStartedIt) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        Child child{shell("exec sleep 60")};
        const pid_t pid = child.pid();
        const bool told = ::write(pipe[1], &pid, sizeof pid) == sizeof pid;
        ::kill(::getpid(), told ? SIGKILL : SIGABRT);
    }
    pid_t grandchild = 0;
    ASSERT_EQ(::read(pipe[0], &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
    ::waitpid(parent, nullptr, 0);
    // A zombie that nobody here can reap still answers kill(0), so look at its state.
    EXPECT_TRUE(becomes_true([&] {
        std::ifstream stat{"/proc/" + std::to_string(grandchild) + "/stat"};
        std::string pid;
        std::string name;
        std::string state;
        return !(stat >> pid >> name >> state) || state == "Z" || state == "X";
    }));
    ::close(pipe[0]);
    ::close(pipe[1]);
}

TEST(Child, NamesTheProgramThatIsMissing) {
    try {
        Child child{{.program = "/nowhere/hufu-broker", .log = testing::TempDir() + "child_test.log"}};
        FAIL();
    } catch (const hufu::Exception& exception) {
        EXPECT_NE(exception.error().text().find("/nowhere/hufu-broker"), std::string::npos);
        EXPECT_NE(exception.error().text().find("./dev build"), std::string::npos);
    }
}

}  // namespace
}  // namespace shop::demo
