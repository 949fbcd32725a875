// Every command of docs/runbook.md, typed into a set-up in the state that its section is about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <sstream>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "runbook_blocks.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string text_of(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream{file}.rdbuf();
    return text.str();
}

/// Database, broker, Redis and a relay, as the runbook's reader has them: with a parked key, dead letters, and a transaction
/// that nobody decided.
class Shop {
public:
    Shop() : outbox_{postgres_.create_database()} {
        connect::migrate_outbox(outbox_).value();
        start_broker();
        const std::string database = outbox_.substr(outbox_.rfind('/') + 1);
        // A header that no broker takes: the relay parks the key.
        postgres_.query("select hufu.publish('orders', 'x'::bytea, 'k-poison', headers => '{\"TAGS\": \"x\"}')", database);
        postgres_.query("select hufu.publish('orders', 'y'::bytea, 'k-well')", database);
        postgres_.stop();
        postgres_.save_copy();  // the backup, which knows of nothing that is sent or parked
        postgres_.start();
        start_relay();
        publish_letters(20);
        leave_half_behind();
        spill_into(redis_.url());
        spill_into("journal:" + file("journal"));
        set("JOURNAL", file("journal"));
        wait_until([this] { return status().find("\"parked_rows\":1") != std::string::npos; }, "the row to be parked");
        set("OUTBOX", outbox_);
        set("BROKER", broker_url_);
        set("METRICS", "http://127.0.0.1:" + std::to_string(metrics_port_) + "/metrics");
        set("REDIS", redis_.url());
        const std::string path = HUFU_PROGRAM;
        set("PATH", path.substr(0, path.rfind('/')) + ":" + std::getenv("PATH"));
    }

    void bring_to(const std::string& state) {
        if (state == state_) return;
        if (state_ == "broker-down") start_broker();
        if (state_ == "redis-down") redis_.start();
        if (state_.starts_with("redis-")) make_redis_well();
        if (state_ == "database-down") postgres_.start();
        if (state_ == "relay-stopped") start_relay();
        if (state == "broker-down") {
            broker_.kill();
        } else if (state == "redis-down") {
            redis_.kill();
        } else if (state == "redis-full" || state == "redis-evicting" || state == "redis-replica") {
            spill_into(redis_.url());
            if (state == "redis-full") redis_.config_set("maxmemory", "1");
            if (state == "redis-evicting") redis_.config_set("maxmemory-policy", "allkeys-lru");
            if (state == "redis-replica") redis_.command({"REPLICAOF", "127.0.0.1", "1"});
        } else if (state == "restored") {
            restore();
        } else if (state == "database-down") {
            postgres_.stop(test_support::StopMode::immediate);
        } else if (state == "relay-stopped") {
            EXPECT_EQ(relay_.terminate(), 0);
        } else {
            ASSERT_EQ(state, "well") << "a state that this test does not know";
            wait_for_owner();
        }
        state_ = state;
    }

    /// What is wrong with it; empty: it did what the runbook says.
    std::string problem_of(const RunbookCommand& command) {
        const std::string said = folder_.path() + "/said";
        const std::string log = folder_.path() + "/log";
        test_support::ProcessOptions process;
        process.arguments = {"/bin/bash", "-c",
                             "cd " + folder_.path() + " && " + (command.runs_on ? "exec " : "") + command.text};
        process.output = said;
        test_support::Child child{process};
        if (command.runs_on) {
            system_clock().sleep_until(system_clock().steady_now() + 1500ms, {});
            if (!child.running()) return "it ended by itself: " + text_of(said);
        }
        const int code = command.runs_on ? child.terminate() : child.wait();
        if (code == command.exit_code) return {};
        return "exit code " + std::to_string(code) + " instead of " + std::to_string(command.exit_code) + ": " +
               text_of(said);
    }

private:
    void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_.path() + "/" + name; }

    void start_broker() {
        broker_ =
            test_support::start_hufu_broker({.program = HUFU_BROKER_PROGRAM,
                                             .folder = folder_.path(),
                                             .port = port_,
                                             .flags = {"--metrics-listen", "127.0.0.1:" + std::to_string(metrics_port_)}});
    }
    void start_relay() {
        relay_ = test_support::Child{
            {.arguments = {HUFU_PROGRAM, "relay", "--outbox", outbox_, "--to", broker_url_, "--retry-cap", "500ms"},
             .output = file("relay.log")}};
    }
    void wait_for_owner() {
        wait_until([this] { return status().find("\"owner\":{") != std::string::npos; }, "the relay to own the lane");
    }
    void make_redis_well() const {
        redis_.command({"REPLICAOF", "NO", "ONE"});
        redis_.config_set("maxmemory", "0");
        redis_.config_set("maxmemory-policy", "noeviction");
    }
    /// The database is that of the backup, and Redis remembers nothing.
    void restore() {
        EXPECT_EQ(relay_.terminate(), 0);
        postgres_.stop(test_support::StopMode::immediate);
        postgres_.restore_copy();
        postgres_.start();
        redis_.flush();
        start_relay();
        wait_for_owner();
    }
    std::string status() {
        const std::string said = file("status");
        test_support::Child child{
            {.arguments = {HUFU_PROGRAM, "outbox", "status", "--outbox", outbox_, "--json"}, .output = said}};
        static_cast<void>(child.wait());
        return text_of(said);
    }
    static void wait_until(const std::function<bool()>& ready, const std::string& what) {
        for (int i = 0; i < 150; ++i) {
            if (ready()) return;
            system_clock().sleep_until(system_clock().steady_now() + 200ms, {});
        }
        FAIL() << "waited in vain for " << what;
    }
    void publish_letters(int count) {
        std::vector<Message> letters;
        for (int i = 0; i < count; ++i) {
            Message letter{
                .id = ids_.next(), .topic = "%DLQ%stock", .ordering_key = "k" + std::to_string(i), .body = "order"};
            letter.headers.set(header::dead_reason, "the stock service is down");
            letter.headers.set(header::dead_topic, "orders");
            letters.push_back(std::move(letter));
        }
        set("LETTER", letters.front().id.to_string());
        const auto publisher = connect::publisher(broker_url_).value();
        std::vector<PublishOutcome> outcomes(letters.size());
        std::promise<void> done;
        publisher->publish(letters, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
    }
    /// What a service that is gone has left in its buffer.
    void spill_into(const std::string& url) {
        const auto buffer = connect::buffer(url).value();
        std::vector<Message> messages;
        for (int i = 0; i < 10; ++i) {
            messages.push_back({.id = ids_.next(), .topic = "orders", .ordering_key = "k", .body = std::to_string(i)});
        }
        std::vector<degradation::SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        buffer->spill(messages, degradation::SpillWhen::always, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) {
            ASSERT_EQ(outcome.status, degradation::SpillOutcome::Status::spilled) << outcome.error.text();
        }
    }
    void leave_half_behind() {
        const auto halves = connect::half_publisher(broker_url_).value();
        const txmsg::HalfContext of{.transaction = ids_.next(), .group = "shop", .handler = {}, .store = {}};
        const std::vector<Message> half{{.id = ids_.next(), .topic = "orders", .body = "paid"}};
        std::vector<txmsg::HalfOutcome> outcomes(1);
        std::promise<void> done;
        halves->prepare(of, half, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        ASSERT_EQ(outcomes[0].status, PublishStatus::confirmed);
        set("TRANSACTION", of.transaction.to_string());
    }

    test_support::PrivateFolder folder_{"runbook"};
    test_support::PostgresServer postgres_{{.durable = true}};
    test_support::RedisServer redis_{{.durable = true}};
    std::uint16_t port_ = test_support::free_port();
    std::uint16_t metrics_port_ = test_support::free_port();
    std::string broker_url_ = "rocketmq://127.0.0.1:" + std::to_string(port_);
    std::string outbox_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    test_support::Child broker_;
    test_support::Child relay_;
    std::string state_ = "well";
};

TEST(Runbook, EveryCommandDoesWhatItSays) {
    const auto commands = runbook_commands(text_of(HUFU_RUNBOOK));
    EXPECT_GT(commands.size(), 30U);
    Shop shop;
    for (const auto& command : commands) {
        shop.bring_to(command.state);
        EXPECT_EQ(shop.problem_of(command), "") << "docs/runbook.md:" << command.line << ": " << command.text;
        if (::testing::Test::HasFatalFailure()) return;
    }
    // This test sees a command that is gone, and one that ends otherwise than the page says.
    EXPECT_THAT(shop.problem_of({.text = "hufu outbox repair --outbox \"$OUTBOX\""}), HasSubstr("exit code 2"));
    EXPECT_THAT(shop.problem_of({.text = "hufu doctor --broker \"$BROKER\"", .exit_code = 1}), HasSubstr("exit code 0"));
}

TEST(RunbookBlocks, AreReadWithTheirStates) {
    const auto commands = runbook_commands(
        "text\n<!-- run: broker-down -->\n```sh\nhufu doctor --x \"a#b\"   # exit code 1: why\n\nhufu relay # runs on\n```\n"
        "```text\nnot run\n```\n");
    ASSERT_EQ(commands.size(), 2U);
    EXPECT_EQ(commands[0].text, "hufu doctor --x \"a#b\"");
    EXPECT_EQ(commands[0].exit_code, 1);
    EXPECT_EQ(commands[0].state, "broker-down");
    EXPECT_EQ(commands[0].line, 4U);
    EXPECT_TRUE(commands[1].runs_on);
    EXPECT_THROW(static_cast<void>(runbook_commands("```sh\nhufu doctor\n```\n")), std::runtime_error);
    EXPECT_THROW(static_cast<void>(runbook_commands("nothing")), std::runtime_error);
}

}  // namespace
}  // namespace hufu::fault
