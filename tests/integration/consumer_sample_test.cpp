// The consumers that docs/consumers.md shows, run as programs at the bundled broker: every message comes twice, each has one effect.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include <hufu/connect/connect.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/idempotency/outgoing.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/hufu_broker.hpp>

namespace hufu {
namespace {

using test_support::Child;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class ConsumerSample : public ::testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        const auto port = test_support::free_port();
        url_ = "rocketmq://127.0.0.1:" + std::to_string(port);
        broker_ = test_support::start_hufu_broker(
            {.program = HUFU_BROKER_PROGRAM, .folder = folder_.path(), .port = port, .flags = {"--durability", "async"}});
        publisher_ = connect::publisher(url_).value();
    }
    Message order(int number, std::string body = "2 roses") {
        return {.id = ids_.next(), .topic = "orders", .ordering_key = std::to_string(number), .body = std::move(body)};
    }
    void publish(const std::vector<Message>& batch) {
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher_->publish(batch, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        for (const auto& outcome : outcomes) ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
    }
    Child consumer(const std::string& how) {
        return Child{{.arguments = {HUFU_CONSUMER_PROGRAM, how, url_, file_}, .output = log_}};
    }
    /// One column of what the consumer has committed.
    std::vector<std::string> column(const std::string& sql) {
        sqlite::Database database{file_};
        sqlite::Transaction tx{database, sqlite::Transaction::Access::read};
        std::vector<std::string> values;
        for (auto rows = tx.query(sql); rows.step();) values.emplace_back(rows.text(0));
        return values;
    }
    std::map<std::string, int> reserved() {
        std::map<std::string, int> times;
        for (const auto& id : column("select order_id from reservations")) ++times[id];
        return times;
    }
    void wait_for(Child& child, const std::function<bool()>& ready) {
        test_support::wait_until_ready(child, "stock-consumer", log_, [&] {
            try {
                return ready();
            } catch (const Exception&) {
                return false;  // the program has not made its tables yet
            }
        });
    }

    const test_support::PrivateFolder folder_{"hufu-sample-XXXXXX"};
    const std::string file_ = folder_.path() + "/stock.db";
    const std::string log_ = folder_.path() + "/consumer.log";
    std::string url_;
    Child broker_;
    std::unique_ptr<Publisher> publisher_;
    MessageIdGenerator ids_{system_clock(), system_random()};
};

TEST_P(ConsumerSample, HasOneEffectForMessagesThatComeTwice) {
    std::vector<Message> orders;
    for (int number = 0; number < 100; ++number) orders.push_back(order(number));
    publish(orders);
    {
        Child first = consumer(GetParam());
        wait_for(first, [&] { return reserved().size() >= 50; });
        publish(orders);
        EXPECT_EQ(first.terminate(), 0) << test_support::file_tail(log_);
    }
    Child second = consumer(GetParam());
    orders.clear();
    for (int number = 100; number < 200; ++number) orders.push_back(order(number));  // behind the duplicates, in every queue
    publish(orders);
    wait_for(second, [&] { return reserved().size() == 200; });
    EXPECT_EQ(second.terminate(), 0) << test_support::file_tail(log_);
    EXPECT_THAT(reserved(), Each(Pair(::testing::_, 1)));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConsumerSample, ::testing::Values("plain", "full", "batches"),
                         [](const auto& tested) { return std::string{tested.param}; });

using FullConsumerSample = ConsumerSample;

TEST_F(FullConsumerSample, RemembersTheParkedKeyAndSendsWhatFollows) {
    const std::vector<Message> orders{order(1), order(2, ""), order(2, "behind"), order(3)};
    publish(orders);
    {
        Child first = consumer("full");
        wait_for(first, [&] {
            return reserved().size() == 2 && column("select ordering_key from hufu_consumer_parked").size() == 1;
        });
        EXPECT_EQ(first.terminate(), 0) << test_support::file_tail(log_);
    }
    publish({{.id = ids_.next(), .topic = "orders", .ordering_key = "2", .body = "2 roses"}, order(4)});
    Child second = consumer("full");
    const auto dead = connect::subscription(url_, {.group = "dlq", .topics = {"%DLQ%stock"}}).value();
    std::map<std::string, std::string> reasons;
    while (reasons.size() < 3) {
        const auto letters = dead->receive(10, std::chrono::seconds{30}, {}).value();
        ASSERT_THAT(letters, ::testing::Not(IsEmpty()));
        for (const auto& letter : letters)
            reasons[letter.message.body] = std::string{letter.message.headers.get(header::dead_reason).value_or("")};
    }
    EXPECT_EQ(reasons[""], "no amount");
    EXPECT_EQ(reasons["behind"], "behind a dead letter of its key");
    EXPECT_EQ(reasons["2 roses"], "behind a dead letter of its key") << "in another process";
    wait_for(second, [&] { return reserved().size() == 3; });
    EXPECT_EQ(second.terminate(), 0) << test_support::file_tail(log_);
    EXPECT_THAT(reserved(), ElementsAre(Pair("1", 1), Pair("3", 1), Pair("4", 1)));
    EXPECT_THAT(column("select message_id from hufu_consumer_attempt"), IsEmpty());
    const auto id = idempotency::derived_id("stock", orders[0].id, 0).bytes();
    EXPECT_THAT(column("select id from hufu_outbox order by seq"), ::testing::Contains(std::string(id.begin(), id.end())));
}

}  // namespace
}  // namespace hufu
