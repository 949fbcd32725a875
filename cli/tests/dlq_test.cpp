// hufu dlq against the bundled broker as a process of its own, with consumers that fail and are repaired.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <boost/json.hpp>

#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/deadletter/redriver.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>

#include "tests/program.hpp"

namespace hufu::cli {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

int letters_wanted() {
    const char* text = std::getenv("HUFU_DEAD_LETTERS");
    return text == nullptr ? 5'000 : std::atoi(text);
}

class CliDlq : public ::testing::Test {
protected:
    void SetUp() override {
        start_broker();
        publisher_ = connect::publisher(url_).value();
    }
    void start_broker() {
        broker_ =
            test_support::start_hufu_broker({.program = HUFU_BROKER_PROGRAM, .folder = program_.folder(), .port = port_});
    }

    void publish(std::vector<Message> batch) {
        while (!batch.empty()) {
            std::vector<PublishOutcome> outcomes(batch.size());
            std::promise<void> done;
            publisher_->publish(batch, outcomes, [&done] { done.set_value(); });
            done.get_future().wait();
            std::vector<Message> left;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (outcomes[i].status != PublishStatus::confirmed) left.push_back(std::move(batch[i]));
            }
            batch = std::move(left);
        }
    }
    /// A dead letter as a consumer of Hufu's makes it.
    Message dead(const std::string& body, const std::string& key = {}, const std::string& reason = "out of stock") {
        Message message{.id = ids_.next(), .topic = "%DLQ%stock", .ordering_key = key, .body = body};
        message.headers.set(header::dead_reason, reason);
        message.headers.set(header::dead_topic, "orders");
        message.headers.set(header::attempts, "16");
        return message;
    }

    /// `hufu dlq …` at this broker.
    std::vector<std::string> words(std::vector<std::string> words) const {
        words.insert(words.begin(), "dlq");
        words.insert(words.end(), {"--broker", url_});
        return words;
    }
    Said dlq(const std::vector<std::string>& given) const { return program_.run(words(given)); }
    static boost::json::object object(const Said& said, int exit_code = 0) {
        EXPECT_EQ(said.exit_code, exit_code) << said.err << said.out;
        return boost::json::parse(said.out).as_object();
    }
    std::int64_t open_letters() const {
        const auto topics = object(dlq({"list", "--json"})).at("topics").as_array();
        return topics.empty() ? 0 : topics[0].at("open").to_number<std::int64_t>();
    }
    std::vector<std::string> lines_of(const std::string& file) const {
        std::vector<std::string> lines;
        std::ifstream stream{program_.file(file)};
        for (std::string line; std::getline(stream, line);) lines.push_back(line);
        return lines;
    }
    /// Everything in `topic`, in its order.
    std::vector<std::string> bodies(const std::string& topic) const {
        const auto reader = connect::topic_reader(url_).value();
        std::vector<std::string> bodies;
        EXPECT_TRUE(deadletter::each_letter(*reader, {}, topic, [&](const deadletter::DeadLetter& letter, const auto*) {
            bodies.push_back(letter.message.body);
            return true;
        }));
        return bodies;
    }

    Program program_;
    std::uint16_t port_ = test_support::free_port();
    std::string url_ = "rocketmq://127.0.0.1:" + std::to_string(port_);
    test_support::Child broker_;
    MessageIdGenerator ids_{system_clock(), system_random()};
    std::unique_ptr<Publisher> publisher_;
};

/// Group "stock", on a thread; it notes what it did.
class Service {
public:
    /// `reject` says why a message cannot be handled, or nothing.
    Service(const std::string& url, std::function<std::string(const Message&)> reject)
        : reject_{std::move(reject)},
          subscription_{connect::subscription(url, {.group = "stock", .topics = {"orders"}}).value()},
          dead_letters_{connect::publisher(url).value()},
          thread_{[this](const std::stop_token& stop) {
              ConsumerOptions options{.group = "stock"};
              options.successors = ConsumerOptions::Successors::let_through;
              Consumer consumer{*subscription_, *dead_letters_, options};
              EXPECT_TRUE(consumer.run([this](const Delivery& delivery) { return handle(delivery.message); }, stop));
          }} {}

    std::size_t handled() {
        const std::lock_guard lock{mutex_};
        return handled_;
    }
    void wait_until_handled(std::size_t count) {
        for (int i = 0; i < 6'000 && handled() < count; ++i) {
            system_clock().sleep_until(system_clock().steady_now() + 10ms, {});
        }
        ASSERT_GE(handled(), count);
    }
    /// Stops it and gives what took effect: id -> how often; and whether a key went back.
    std::map<MessageId, int> finish() {
        thread_.request_stop();
        thread_.join();
        return effects_;
    }
    std::vector<std::string> out_of_order;

private:
    HandlerResult handle(const Message& message) {
        const std::lock_guard lock{mutex_};
        ++handled_;
        if (auto why = reject_(message); !why.empty()) return {Handled::reject, why};
        if (effects_[message.id]++ == 0 && !message.ordering_key.empty()) {
            int& last = last_[message.ordering_key];
            const int number = std::stoi(message.body);
            if (number <= last) out_of_order.push_back(message.ordering_key + ": " + message.body);
            last = number;
        }
        return Handled::done;
    }

    std::function<std::string(const Message&)> reject_;
    std::mutex mutex_;
    std::size_t handled_ = 0;
    std::map<MessageId, int> effects_;
    std::map<std::string, int> last_;
    std::unique_ptr<Subscription> subscription_;
    std::unique_ptr<Publisher> dead_letters_;
    std::jthread thread_;
};

bool is_poison(const Message& message) { return message.tag == "poison"; }

TEST_F(CliDlq, RedrivesAllButThePoisonThroughKillsAndEnds) {
    const auto count = static_cast<std::size_t>(letters_wanted());
    const std::size_t poison = count / 100;
    std::vector<Message> orders;
    for (std::size_t i = 0; i < count; ++i) {
        const bool is_bad = i % 100 == 50;
        orders.push_back({.id = ids_.next(),
                          .topic = "orders",
                          .tag = is_bad ? "poison" : "",
                          .ordering_key = is_bad ? "" : "k" + std::to_string(i % 97),
                          .body = std::to_string(i + 1)});
    }
    publish(orders);
    {
        Service broken{url_, [](const Message&) { return "the stock service is down"; }};
        broken.wait_until_handled(count);
        EXPECT_TRUE(broken.finish().empty());
    }
    ASSERT_EQ(open_letters(), static_cast<std::int64_t>(count));

    // Repaired, but for the poison. Killed in the middle, twice, and run again.
    Service service{url_, [](const Message& message) { return is_poison(message) ? "not an order" : ""; }};
    const auto command =
        words({"redrive", "--group", "stock", "--reason", "stock is back", "--actor", "ann", "--rate",
               std::to_string(count / 2), "--outcomes", program_.file("outcomes"), "--silence", "2s", "--json"});
    for (int kills = 0; kills < 2; ++kills) {
        const auto before = service.handled();
        const pid_t child = program_.start(command);
        service.wait_until_handled(before + count / 5);
        ::kill(child, SIGKILL);
        EXPECT_EQ(program_.wait(child).exit_code, 128 + SIGKILL);
    }
    const auto rest = object(program_.run(command));
    EXPECT_GT(rest.at("settled_before").to_number<std::uint64_t>(), count / 10) << "it goes on where the others ended";
    const auto deliveries = count + 2 * 500;  // what a kill left unwritten is sent twice
    service.wait_until_handled(count);

    // Whoever redrives again and again is refused in the end.
    std::uint64_t refused = 0;
    for (int round = 0; round < 8 && refused < poison; ++round) {
        const auto said = program_.run(command);
        refused = boost::json::parse(said.out).at("refused").to_number<std::uint64_t>();
        EXPECT_EQ(said.exit_code, refused > 0 ? 1 : 0) << said.err;
        system_clock().sleep_until(system_clock().steady_now() + 300ms, {});
    }
    EXPECT_GE(refused, poison);
    EXPECT_LT(service.handled(), deliveries + 8 * poison) << "a loop";

    const auto effects = service.finish();
    EXPECT_EQ(effects.size(), count - poison) << "99 % took effect";
    std::size_t copies = 0;
    for (const auto& [id, times] : effects) copies += static_cast<std::size_t>(times - 1);
    EXPECT_LE(copies, 2 * 500U) << "a kill repeats at most the batch under way";
    EXPECT_THAT(service.out_of_order, ::testing::IsEmpty());
    const auto back = object(dlq({"list", "--group", "stock", "--json", "--limit", "1000000"})).at("letters").as_array();
    std::set<std::string> poisoned;
    for (const auto& letter : back) {
        poisoned.insert(std::string{letter.at("id").as_string()});
        EXPECT_EQ(letter.at("reason").as_string(), "not an order");
        EXPECT_EQ(letter.at("redrives").to_number<int>(), 3);
    }
    EXPECT_EQ(poisoned.size(), poison);
    EXPECT_GE(lines_of("outcomes").size(), count - 2 * 500);
}

TEST_F(CliDlq, ListsShowsAndFilters) {
    EXPECT_THAT(dlq({"list"}).out, HasSubstr("no dead letters"));
    publish({dead("a", "k1", "card declined"), dead("b", "k2", "timed out"), dead("c", "k1", "timed out")});
    EXPECT_THAT(dlq({"list"}).out, AllOf(HasSubstr("%DLQ%stock"), HasSubstr("3")));
    const auto all = object(dlq({"list", "--group", "stock", "--json"})).at("letters").as_array();
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].at("reason").as_string(), "card declined");
    EXPECT_EQ(all[0].at("origin").as_string(), "orders");
    EXPECT_EQ(all[0].at("attempts").to_number<int>(), 16);
    const auto size = [this](std::vector<std::string> more) {
        more.insert(more.begin(), {"list", "--group", "stock", "--json"});
        return object(dlq(more)).at("letters").as_array().size();
    };
    EXPECT_EQ(size({"--dead-reason", "timed"}), 2U);
    EXPECT_EQ(size({"--key", "k1"}), 2U);
    EXPECT_EQ(size({"--key", "k1", "--dead-reason", "timed"}), 1U);
    EXPECT_EQ(size({"--origin", "payments"}), 0U);
    EXPECT_EQ(size({"--since", "1h"}), 3U);
    EXPECT_EQ(size({"--until", "1h"}), 0U);
    EXPECT_EQ(size({"--until", "2020-01-02T03:04:05Z"}), 0U);
    EXPECT_EQ(size({"--limit", "2"}), 2U);
    const std::string id{all[1].at("id").as_string()};
    const auto shown = object(dlq({"show", id, "--group", "stock", "--json"}));
    EXPECT_EQ(shown.at("body").as_string(), "b");
    EXPECT_EQ(shown.at("headers").at("hufu-dead-topic").as_string(), "orders");
    EXPECT_THAT(dlq({"show", id, "--group", "stock"}).out, AllOf(HasSubstr("timed out"), HasSubstr("open")));
}

TEST_F(CliDlq, SettlesWithAnAudit) {
    publish({dead("1", "k1", "declined"), dead("2", "k2", "timed out"), dead("3", "k1", "timed out"), dead("4", "", "x")});
    const auto dry = object(dlq({"redrive", "--group", "stock", "--reason", "try", "--dry-run", "--json"}));
    EXPECT_EQ(dry.at("settled").to_number<int>(), 4);
    EXPECT_TRUE(dry.at("job").is_null()) << boost::json::serialize(dry);
    EXPECT_EQ(open_letters(), 4);

    // The later one of k1 does not overtake the earlier.
    const auto timed = object(dlq({"redrive", "--group", "stock", "--dead-reason", "timed", "--reason", "bank is back",
                                   "--actor", "ann", "--outcomes", program_.file("outcomes"), "--json"}),
                              1);
    EXPECT_EQ(timed.at("settled").to_number<int>(), 1);
    EXPECT_EQ(timed.at("held").to_number<int>(), 1);
    EXPECT_THAT(bodies("orders"), ::testing::ElementsAre("2"));
    const auto lines = lines_of("outcomes");
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_THAT(lines, ::testing::Contains(AllOf(HasSubstr("\"held\""), HasSubstr("earlier dead letter"))));
    EXPECT_THAT(lines, ::testing::Contains(HasSubstr("\"redriven\"")));

    EXPECT_EQ(object(dlq({"discard", "--group", "stock", "--dead-reason", "declined", "--reason", "refunded by hand",
                          "--actor", "bob", "--json"}))
                  .at("settled")
                  .to_number<int>(),
              1);
    EXPECT_EQ(object(dlq({"redrive", "--group", "stock", "--reason", "the rest", "--json"})).at("settled").to_number<int>(),
              2);
    EXPECT_THAT(bodies("orders"), ::testing::UnorderedElementsAre("2", "3", "4"));
    const auto again = dlq({"redrive", "--group", "stock", "--reason", "the rest"});
    EXPECT_EQ(again.exit_code, 0);
    EXPECT_THAT(again.err, HasSubstr("nothing is left to do"));

    broker_.kill();  // what the audit says outlives the broker
    start_broker();
    EXPECT_EQ(open_letters(), 0);
    EXPECT_THAT(dlq({"list", "--group", "stock", "--state", "discarded", "--json"}).out, HasSubstr("refunded by hand"));
    EXPECT_THAT(dlq({"audit"}).out, AllOf(HasSubstr("ann"), HasSubstr("bank is back"), HasSubstr("dead_reason=timed"),
                                          HasSubstr("bob"), HasSubstr("discard"), HasSubstr("1 settled")));
}

TEST_F(CliDlq, RefusesWhatItCannotDo) {
    EXPECT_EQ(dlq({"redrive", "--group", "stock"}).exit_code, 2) << "without a reason";
    EXPECT_EQ(dlq({"redrive", "--group", "stock", "--reason", ""}).exit_code, 2);
    EXPECT_THAT(dlq({"redrive", "--reason", "x"}).err, HasSubstr("--group"));
    EXPECT_EQ(dlq({"redrive", "--reason", "x"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--group", "a", "--topic", "b"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--group", "a b"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--group", "stock", "--since", "yesterday"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--group", "stock", "--since", "2026-13-01"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--group", "stock", "--id", "17"}).exit_code, 2);
    EXPECT_EQ(dlq({"list", "--key", "k"}).exit_code, 2) << "a filter needs a group";
    EXPECT_EQ(dlq({"show", "--group", "stock"}).exit_code, 2);
    EXPECT_EQ(dlq({"show", "17", "--group", "stock"}).exit_code, 2);
    EXPECT_EQ(dlq({"redrive", "--group", "stock", "--reason", "x", "--rate", "-1"}).exit_code, 2);
    EXPECT_EQ(dlq({"redrive", "--group", "stock", "--reason", "x", "--to-topic", "a b"}).exit_code, 2);

    publish({dead("1", "k")});
    const auto unknown = dlq({"redrive", "--group", "stok", "--reason", "x"});
    EXPECT_EQ(unknown.exit_code, 1);
    EXPECT_THAT(unknown.err, AllOf(HasSubstr("%DLQ%stok"), HasSubstr("%DLQ%stock")));
    const auto nothing = dlq({"redrive", "--group", "stock", "--reason", "x", "--key", "other"});
    EXPECT_EQ(nothing.exit_code, 1);
    EXPECT_THAT(nothing.err, HasSubstr("no dead letter fits (key=other)"));
    const auto unwritable =
        dlq({"redrive", "--group", "stock", "--reason", "x", "--outcomes", program_.file("no") + "/such/folder"});
    EXPECT_EQ(unwritable.exit_code, 2);
    EXPECT_THAT(unwritable.err, AllOf(HasSubstr("outcome file"), HasSubstr("/such/folder"), HasSubstr("nothing was tried")));
    EXPECT_EQ(object(dlq({"audit", "--json"})).at("jobs").as_array().size(), 1U) << "only that of key=other was begun";
    EXPECT_EQ(open_letters(), 1) << "nothing was settled by any of these";
    EXPECT_EQ(dlq({"show", ids_.next().to_string(), "--group", "stock"}).exit_code, 1);

    broker_.kill();
    const auto away = dlq({"redrive", "--group", "stock", "--reason", "x"});
    EXPECT_EQ(away.exit_code, 3);
    EXPECT_THAT(away.err, HasSubstr("127.0.0.1"));
    EXPECT_EQ(dlq({"discard", "--group", "stock", "--reason", "x"}).exit_code, 3);
    EXPECT_EQ(dlq({"list"}).exit_code, 3);
    EXPECT_EQ(dlq({"list", "--group", "stock"}).exit_code, 3);
    EXPECT_EQ(dlq({"show", ids_.next().to_string(), "--group", "stock"}).exit_code, 3);
    EXPECT_EQ(dlq({"audit"}).exit_code, 3);
    const auto both = dlq({"redrive", "--group", "stock", "--reason", "x", "--outcomes", program_.file("no") + "/such"});
    EXPECT_EQ(both.exit_code, 2) << "the file is looked at before the broker";
}

TEST_F(CliDlq, ABrokerThatGoesAwayInTheMiddleIsToldAndTheSameCommandGoesOn) {
    std::vector<Message> letters;
    for (int i = 0; i < 200; ++i) letters.push_back(dead(std::to_string(i), "k" + std::to_string(i % 5)));
    publish(letters);
    const auto command = words({"redrive", "--group", "stock", "--reason", "back", "--rate", "50", "--patience", "500ms",
                                "--silence", "1s", "--outcomes", program_.file("outcomes"), "--json"});
    const pid_t child = program_.start(command);
    for (int look = 0; look < 6'000 && lines_of("outcomes").empty(); ++look) {
        system_clock().sleep_until(system_clock().steady_now() + 5ms, {});
    }
    broker_.kill();
    const auto away = program_.wait(child);
    EXPECT_EQ(away.exit_code, 3) << away.err;
    EXPECT_THAT(away.err, HasSubstr("127.0.0.1"));
    const auto settled = object(away, 3).at("settled").to_number<int>();
    EXPECT_GT(settled, 0);
    EXPECT_LT(settled, 200);
    start_broker();
    const auto rest = program_.run(words({"redrive", "--group", "stock", "--reason", "back", "--silence", "1s"}));
    EXPECT_EQ(rest.exit_code, 0) << rest.err;
    EXPECT_EQ(open_letters(), 0);
    const auto sent = bodies("orders");
    EXPECT_EQ((std::set<std::string>{sent.begin(), sent.end()}.size()), 200U);
}

}  // namespace
}  // namespace hufu::cli
