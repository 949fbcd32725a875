// hufu replay as a process, against the bundled broker as a process: killed, doubled, and given bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include <boost/json.hpp>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using degradation::SpillOutcome;
using degradation::SpillWhen;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class CliReplay : public testing::Test {
protected:
    void SetUp() override {
        const std::string log = program_.file("broker.log");
        test_support::ProcessOptions process;
        process.arguments = {HUFU_BROKER_PROGRAM, "--data", program_.file("data"), "--listen",
                             "127.0.0.1:" + std::to_string(port_)};
        process.output = log;
        broker_ = test_support::Child{process};
        test_support::wait_until_ready(broker_, "hufu-broker", log, [this] { return test_support::accepts(port_); });
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

    /// Starts it ten times, and kills it at a random point of its work, which the outcome file shows; then lets it end.
    void kill_ten_times(const std::string& from, int messages) {
        const std::string outcomes = program_.file("outcomes");
        const auto size = [&] { return std::filesystem::exists(outcomes) ? std::filesystem::file_size(outcomes) : 0; };
        Clock& clock = system_clock();
        for (int round = 0; round < 10; ++round) {
            const auto before = size();
            const pid_t child = program_.start(words(from, {"--rate", "1000", "--outcomes", outcomes}));
            const SteadyTime limit = clock.steady_now() + seconds{30};
            while (size() == before && clock.steady_now() < limit)
                clock.sleep_until(clock.steady_now() + milliseconds{1}, {});
            EXPECT_GT(size(), before) << "it did not begin";
            const auto lives = milliseconds{static_cast<std::int64_t>(system_random().below(80))};
            clock.sleep_until(clock.steady_now() + lives, {});
            ::kill(child, SIGKILL);
            EXPECT_EQ(program_.wait(child).exit_code, 128 + SIGKILL) << "it ended before it was killed";
        }
        const auto said = program_.run(words(from, {"--json"}));
        EXPECT_EQ(said.exit_code, 0) << said.err;
        EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
        EXPECT_TRUE(object(said).at("adds_up").as_bool());
        EXPECT_LT(object(said).at("read").to_number<int>(), messages) << "those that were killed had done a part";
    }

    Program program_;
    std::uint16_t port_ = test_support::free_port();
    test_support::Child broker_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    int made_ = 0;
    int groups_ = 0;
};

TEST_F(CliReplay, EmptiesAJournalAndSaysWhatBecameOfEachMessage) {
    const auto messages = spill(journal(), 500);
    const auto preview = program_.run(words(journal(), {"--dry-run", "--json"}));
    ASSERT_EQ(preview.exit_code, 0) << preview.err;
    EXPECT_EQ(object(preview).at("would_go").to_number<int>(), 500);
    const auto said = program_.run(words(journal(), {"--json", "--outcomes", program_.file("outcomes")}));
    ASSERT_EQ(said.exit_code, 0) << said.err;
    const auto report = object(said);
    EXPECT_EQ(report.at("read").to_number<int>(), 500) << "the dry run left everything";
    EXPECT_EQ(report.at("confirmed").to_number<int>(), 500);
    EXPECT_EQ(report.at("left").to_number<int>(), 0);
    EXPECT_EQ(report.at("ended").as_string(), "drained");
    std::ifstream file{program_.file("outcomes")};
    std::size_t lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
        EXPECT_EQ(boost::json::parse(line).at("outcome").as_string(), "confirmed");
    }
    EXPECT_EQ(lines, 500U);
    check_delivered(messages);
    const auto again = program_.run(words(journal()));
    EXPECT_EQ(again.exit_code, 0);
    EXPECT_THAT(again.err, HasSubstr("nothing to replay"));
}

TEST_F(CliReplay, KilledAtTenPointsItEndsInTheSameState) {
    const auto messages = spill(journal(), 3'000);
    kill_ten_times(journal(), 3'000);
    check_delivered(messages);
}

TEST_F(CliReplay, ASecondOneOnAJournalIsRefusedAndTheFirstEnds) {
    const auto messages = spill(journal(), 1'000);
    const pid_t first = program_.start(words(journal(), {"--rate", "1000", "--outcomes", program_.file("outcomes")}));
    while (!std::filesystem::exists(program_.file("outcomes")) ||
           std::filesystem::file_size(program_.file("outcomes")) == 0) {
        ASSERT_EQ(::kill(first, 0), 0);
    }
    Program elsewhere;
    const auto second = elsewhere.run(words(journal()));
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_THAT(second.err, AllOf(HasSubstr("in use by another process"), HasSubstr(program_.file("journal"))));
    EXPECT_EQ(program_.wait(first).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, KilledAtTenPointsOnRedisItEndsInTheSameState) {
    const test_support::RedisServer redis{{.durable = true}};
    const std::string from = redis.url() + "?buffer=shop&shards=2&lease_ms=300";
    const auto messages = spill(from, 2'000);
    kill_ten_times(from, 2'000);
    check_delivered(messages);
}

TEST_F(CliReplay, TwoAtOnceOnRedisEndInTheSameState) {
    const test_support::RedisServer redis{{.durable = true}};
    const std::string from = redis.url() + "?shards=4&lease_ms=1000";
    const auto messages = spill(from, 3'000);
    const auto preview = program_.run(words(from, {"--dry-run", "--json"}));
    EXPECT_EQ(object(preview).at("would_go").to_number<int>(), 3'000);
    Program other;
    const pid_t first = program_.start(words(from, {"--rate", "2000", "--json"}));
    const pid_t second = other.start(words(from, {"--rate", "2000", "--json"}));
    const auto one = program_.wait(first);
    const auto two = other.wait(second);
    EXPECT_EQ(one.exit_code, 0) << one.err;
    EXPECT_EQ(two.exit_code, 0) << two.err;
    EXPECT_GE(object(one).at("confirmed").to_number<int>() + object(two).at("confirmed").to_number<int>(), 3'000);
    EXPECT_EQ(object(two).at("left").to_number<int>(), 0);
    check_delivered(messages);
}

TEST_F(CliReplay, EmptiesARedisThatIsFull) {
    const test_support::RedisServer redis{{.settings = {"maxmemory 4mb"}}};
    const auto buffer = connect::buffer(redis.url()).value();
    std::vector<Message> held;
    Error refusal;
    while (refusal.code() != ErrorCode::out_of_space && held.size() < 50'000) {
        std::vector<Message> messages;
        for (int i = 0; i < 100; ++i) messages.push_back(next());
        std::vector<SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        buffer->spill(messages, SpillWhen::always, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (std::size_t i = 0; i < messages.size(); ++i) {
            if (outcomes[i].status == SpillOutcome::Status::spilled) {
                held.push_back(messages[i]);
            } else {
                refusal = outcomes[i].error;
            }
        }
    }
    ASSERT_EQ(refusal.code(), ErrorCode::out_of_space) << refusal.text();
    redis.config_set("maxmemory", "1mb");  // full it stays, whatever goes
    const auto said = program_.run(words(redis.url(), {"--json"}));
    ASSERT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(object(said).at("confirmed").to_number<std::size_t>(), held.size());
    EXPECT_EQ(object(said).at("left").to_number<int>(), 0);
    check_delivered(held);
}

TEST_F(CliReplay, SetsAsideWhatTheBrokerRefusesWithItsSuccessors) {
    auto huge = next();
    huge.ordering_key = "huge";
    huge.body.assign(std::size_t{9} << 20U, 'x');
    auto behind = next();
    behind.ordering_key = "huge";
    spill(journal(), {huge, behind});
    const auto messages = spill(journal(), 50);
    const auto said = program_.run(words(journal(), {"--json", "--outcomes", program_.file("outcomes")}));
    EXPECT_EQ(said.exit_code, 1);
    EXPECT_THAT(said.err, HasSubstr("--retry-parked"));
    EXPECT_EQ(object(said).at("left_parked").to_number<int>(), 2);
    EXPECT_EQ(object(said).at("confirmed").to_number<int>(), 50);
    check_delivered(messages);
    const auto again = program_.run(words(journal(), {"--retry-parked", "--json"}));
    EXPECT_EQ(again.exit_code, 1);
    EXPECT_EQ(object(again).at("read").to_number<int>(), 2);
    EXPECT_EQ(object(again).at("left_parked").to_number<int>(), 2);
}

TEST_F(CliReplay, AFilterLeavesTheRestAndOneThatMatchesNothingSaysSo) {
    const auto messages = spill(journal(), 70);
    auto nothing = program_.run(words(journal(), {"--topic", "stock"}));
    EXPECT_EQ(nothing.exit_code, 1);
    EXPECT_THAT(nothing.err, HasSubstr("the filter matches nothing: 70 entries were left"));
    EXPECT_EQ(program_.run(words(journal(), {"--topic", "stock", "--dry-run"})).exit_code, 1);
    const auto some = program_.run(words(journal(), {"--key", "k3", "--json"}));
    EXPECT_EQ(some.exit_code, 0) << some.err;
    EXPECT_EQ(object(some).at("confirmed").to_number<int>(), 10);
    EXPECT_EQ(object(some).at("left").to_number<int>(), 60);
    EXPECT_EQ(program_.run(words(journal())).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, ABrokerThatIsAwayLosesNothing) {
    const auto messages = spill(journal(), 20);
    broker_.terminate();
    const auto said = program_.run(words(journal(), {"--patience", "500ms"}));
    EXPECT_EQ(said.exit_code, 3) << said.err;
    EXPECT_THAT(said.err, HasSubstr("the broker takes nothing"));
    SetUp();
    EXPECT_EQ(program_.run(words(journal())).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, BadInputIsAnsweredBeforeAnythingIsTouched) {
    spill(journal(), 5);
    const auto expect = [&](const std::vector<std::string>& all, int code, const std::string& text) {
        const auto said = program_.run(all);
        EXPECT_EQ(said.exit_code, code) << text << ": " << said.err;
        EXPECT_THAT(said.err, HasSubstr(text));
    };
    expect(words(journal(), {"--outcomes", "/nowhere/outcomes"}), 2, "/nowhere/outcomes");
    expect(words("journal:" + program_.file("typo")), 1, "there is no folder");
    expect(words("mailto:x"), 2, "is not the address of a buffer");
    expect(words("redis://127.0.0.1:1", {"--patience", "300ms"}), 3, "127.0.0.1:1");
    expect(words(journal(), {"--since", "yesterday"}), 2, "yesterday");
    expect(words(journal(), {"--warm-up", "5s"}), 2, "warm_up needs a rate");
    expect(words(journal(), {"--once", "--follow"}), 2, "--once");
    expect({"replay", "--from", journal(), "--to", "amqp://x"}, 2, "is not the address of a broker");
    std::filesystem::create_directory(program_.file("foreign"));
    std::ofstream{program_.file("foreign") + "/0000000001.journal"} << std::string(4'096, 'x');
    expect(words("journal:" + program_.file("foreign")), 1, "is not a journal's segment");
    const auto rest = program_.run(words(journal(), {"--json"}));
    EXPECT_EQ(object(rest).at("confirmed").to_number<int>(), 5);
}

TEST_F(CliReplay, AForeignStreamIsRefused) {
    const test_support::RedisServer redis{};
    redis.command({"SET", "hufu:buffer:{default:0}:entries", "not ours"});
    const auto said = program_.run(words(redis.url(), {"--patience", "500ms"}));
    EXPECT_NE(said.exit_code, 0);
    EXPECT_THAT(said.err, HasSubstr("WRONGTYPE"));
}

}  // namespace
}  // namespace hufu::cli
