// hufu replay as a process, against the bundled broker as a process.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include <boost/json.hpp>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>

#include "tests/program.hpp"

namespace hufu::cli {

using degradation::SpillOutcome;
using degradation::SpillWhen;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class CliReplay : public testing::Test {
protected:
    void SetUp() override {
        broker_ =
            test_support::start_hufu_broker({.program = HUFU_BROKER_PROGRAM, .folder = program_.folder(), .port = port_});
    }

    [[nodiscard]] std::string to() const { return "rocketmq://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::string journal() const { return "journal:" + program_.file("journal"); }

    Message next(const std::string& topic = "orders") {
        const int number = made_++;
        Message message{.id = ids_.next(), .topic = topic, .ordering_key = "k" + std::to_string(number % 7)};
        message.body = std::to_string(number);
        return message;
    }
    static void spill(const std::string& url, const std::vector<Message>& messages) {
        const auto buffer = connect::buffer(url).value();
        std::vector<SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        buffer->spill(messages, SpillWhen::always, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) {
            ASSERT_EQ(outcome.status, SpillOutcome::Status::spilled) << outcome.error.text();
        }
    }
    std::vector<Message> spill(const std::string& url, int count) {
        std::vector<Message> messages;
        for (int i = 0; i < count; ++i) messages.push_back(next());
        spill(url, messages);
        return messages;
    }
    [[nodiscard]] std::vector<std::string> words(const std::string& from, std::vector<std::string> more = {}) const {
        more.insert(more.begin(), {"replay", "--from", from, "--to", to()});
        return more;
    }
    static boost::json::object object(const Said& said) { return boost::json::parse(said.out).as_object(); }

    /// Consumes until every message had its one effect. Each at least once, first occurrences in order per key.
    void check_delivered(const std::vector<Message>& expected) {
        const auto group = "g" + std::to_string(++groups_);
        const auto subscription = connect::subscription(to(), {.group = group, .topics = {"orders"}}).value();
        std::set<MessageId> guard;
        std::map<std::string, int> last;
        const SteadyTime until = system_clock().steady_now() + seconds{60};
        while (guard.size() < expected.size()) {
            ASSERT_LT(system_clock().steady_now(), until) << guard.size() << " of " << expected.size() << " were delivered";
            const auto received = subscription->receive(1'000, milliseconds{500}, {}).value();
            std::vector<DeliveryTag> tags;
            for (const auto& delivery : received) {
                tags.push_back(delivery.tag);
                if (!guard.insert(delivery.message.id).second) continue;
                const int number = std::stoi(delivery.message.body);
                const auto [at, is_first] = last.try_emplace(delivery.message.ordering_key, number);
                ASSERT_TRUE(is_first || at->second < number) << number << " was overtaken by " << at->second;
                at->second = number;
            }
            subscription->acknowledge(tags);
        }
        for (const auto& message : expected) EXPECT_TRUE(guard.contains(message.id)) << message.body;
    }

    [[nodiscard]] std::set<std::string> ids_in(const std::string& outcomes) const {
        std::set<std::string> ids;
        std::ifstream file{program_.file(outcomes)};
        for (std::string line; std::getline(file, line);) {
            ids.insert(std::string{boost::json::parse(line).at("id").as_string()});
        }
        return ids;
    }
    static void sleep(milliseconds time) { system_clock().sleep_until(system_clock().steady_now() + time, {}); }

    Program program_;
    std::uint16_t port_ = test_support::free_port();
    test_support::Child broker_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    int made_ = 0;
    int groups_ = 0;
};

}  // namespace hufu::cli
