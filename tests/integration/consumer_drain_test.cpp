// SIGTERM to a real consumer at the bundled broker, under load.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using test_support::Child;
using ::testing::HasSubstr;

/// What the consumers have written so far.
struct Book {
    std::map<std::string, int> begun;
    std::map<std::string, int> ended;
    std::size_t twice = 0;  ///< handler calls that ended beyond the first of their message
};

class ConsumerDrain : public ::testing::Test {
protected:
    void SetUp() override {
        const auto port = test_support::free_port();
        url_ = "rocketmq://127.0.0.1:" + std::to_string(port);
        broker_ = test_support::start_hufu_broker(
            {.program = HUFU_BROKER_PROGRAM, .folder = folder_.path(), .port = port, .flags = {"--durability", "async"}});
        publisher_ = connect::publisher(url_).value();
    }
    /// Messages with the bodies first, first + 1 …, confirmed.
    void publish(int first, int count) {
        std::vector<Message> batch;
        for (int number = first; number < first + count; ++number)
            batch.push_back({.id = ids_.next(), .topic = "orders", .body = std::to_string(number)});
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher_->publish(batch, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
    }
    Child consumer(const std::string& handler_ms, const std::string& drain_max_ms) {
        return Child{
            {.arguments = {HUFU_CONSUMER_PROGRAM, url_, book_path_, handler_ms, drain_max_ms}, .output = log_path_}};
    }
    [[nodiscard]] Book book() const {
        Book read;
        std::ifstream file{book_path_};
        for (std::string what, number; file >> what >> number;) {
            if (what == "begin") ++read.begun[number];
            if (what == "end" && ++read.ended[number] > 1) ++read.twice;
        }
        return read;
    }
    void wait_for_ended(Child& child, std::size_t count) {
        test_support::wait_until_ready(child, "the consumer", log_path_, [&] { return book().ended.size() >= count; });
    }
    [[nodiscard]] std::string log() const { return test_support::file_tail(log_path_); }

    const test_support::PrivateFolder folder_{"hufu-drain-XXXXXX"};
    const std::string book_path_ = folder_.path() + "/book";
    const std::string log_path_ = folder_.path() + "/consumer.log";
    std::string url_;
    Child broker_;
    std::unique_ptr<Publisher> publisher_;
    MessageIdGenerator ids_{system_clock(), system_random()};
};

TEST_F(ConsumerDrain, FinishesWhatRunsAndLeavesTheRestToTheNext) {
    constexpr int at_once = 2'000;
    constexpr int stops = 3;
    publish(0, at_once);
    int published = at_once;
    for (int stop = 1; stop <= stops; ++stop) {
        Child working = consumer("2", "30000");
        wait_for_ended(working, static_cast<std::size_t>(300 * stop));
        std::jthread load{[&] { publish(published, 200); }};
        EXPECT_EQ(working.terminate(), 0) << log();
        load.join();
        published += 200;
        const auto read = book();
        EXPECT_EQ(read.begun, read.ended) << "a handler was cut off";
        EXPECT_LT(read.ended.size(), static_cast<std::size_t>(at_once)) << "it was to be stopped in the middle";
        EXPECT_THAT(log(), HasSubstr("running 0, dropped "));
        EXPECT_THAT(log(), ::testing::Not(HasSubstr("dropped 0:"))) << "nothing waited in memory: no load";
    }
    Child last = consumer("0", "30000");
    wait_for_ended(last, static_cast<std::size_t>(published));
    EXPECT_EQ(last.terminate(), 0) << log();
    const auto read = book();
    EXPECT_EQ(read.ended.size(), static_cast<std::size_t>(published)) << "acknowledged, but not handled";
    // Messages without keys start in the order of their queues, so nothing that ended lies behind something that did not.
    EXPECT_EQ(read.twice, 0u);
}

TEST_F(ConsumerDrain, DoesNotWaitLongerThanAskedForAndLosesNothing) {
    publish(0, 20);
    Child stuck = consumer("600000", "200");
    test_support::wait_until_ready(stuck, "the consumer", log_path_, [&] { return book().begun.size() >= 8; });
    EXPECT_EQ(stuck.terminate(), 1);
    EXPECT_THAT(log(), HasSubstr("running 8, dropped "));
    EXPECT_THAT(log(), HasSubstr("8 handlers still ran 200 ms after the stop; their messages come again"));
    EXPECT_TRUE(book().ended.empty());
    Child next = consumer("0", "30000");
    wait_for_ended(next, 20);
    EXPECT_EQ(next.terminate(), 0) << log();
}

TEST_F(ConsumerDrain, ASecondSignalEndsItAtOnce) {
    publish(0, 1);
    Child stuck = consumer("600000", "0");
    test_support::wait_until_ready(stuck, "the consumer", log_path_, [&] { return !book().begun.empty(); });
    auto& clock = system_clock();
    while (stuck.running()) {  // two signals that wait together are one
        ::kill(stuck.pid(), SIGTERM);
        clock.sleep_until(clock.steady_now() + 10ms, {});
    }
    Child next = consumer("0", "30000");
    wait_for_ended(next, 1);
    EXPECT_EQ(next.terminate(), 0) << log();
}

}  // namespace
}  // namespace hufu
