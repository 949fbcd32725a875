// Publisher and Subscription against a real Kafka.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <atomic>
#include <future>
#include <map>
#include <set>

#include <hufu/core/ids.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/kafka/client.hpp>
#include <hufu/test_support/kafka_server.hpp>

namespace hufu::kafka {
namespace {

using namespace std::chrono_literals;

/// One server for all; each test has topics and groups of its own.
class WithKafka : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        server = std::make_unique<test_support::KafkaServer>(test_support::KafkaServerOptions{
            .flush_each = false,
            .settings = {"auto.create.topics.enable=true", "num.partitions=4", "message.max.bytes=200000"}});
    }
    static void TearDownTestSuite() { server.reset(); }

    [[nodiscard]] static ClientOptions client() { return {.servers = {server->address()}}; }
    [[nodiscard]] std::string topic() const { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }
    [[nodiscard]] SubscriptionOptions from_first() const { return {.group = topic(), .topics = {topic()}}; }
    [[nodiscard]] static SubscriberOptions fast() {
        return {.session_timeout = 3s, .heartbeat_every = 300ms, .topics_every = 500ms, .offsets_every = 100ms};
    }
    Message message(std::string key, int number) {
        return {.id = ids.next(), .topic = topic(), .ordering_key = std::move(key), .body = std::to_string(number)};
    }
    static std::vector<PublishOutcome> publish(hufu::Publisher& publisher, const std::vector<Message>& batch) {
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher.publish(batch, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcomes;
    }
    static void publish_all(hufu::Publisher& publisher, const std::vector<Message>& batch) {
        for (const auto& outcome : publish(publisher, batch)) {
            ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
        }
    }
    static void acknowledge(hufu::Subscription& subscription, const std::vector<Delivery>& deliveries) {
        std::vector<DeliveryTag> tags;
        for (const Delivery& delivery : deliveries) tags.push_back(delivery.tag);
        subscription.acknowledge(tags);
    }
    /// Receives until `count` messages came, or nothing for 20 s.
    static std::vector<Delivery> receive(hufu::Subscription& subscription, std::size_t count) {
        std::vector<Delivery> all;
        while (all.size() < count) {
            auto some = subscription.receive(count - all.size(), 20s, {}).value();
            if (some.empty()) break;
            all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
        }
        return all;
    }
    static std::vector<Delivery> consume(hufu::Subscription& subscription, std::size_t count) {
        auto all = receive(subscription, count);
        acknowledge(subscription, all);
        return all;
    }

    static inline std::unique_ptr<test_support::KafkaServer> server;
    MessageIdGenerator ids{system_clock(), system_random()};
};

TEST_F(WithKafka, MessagesTravelInOrderPerKey) {
    const auto publisher = open_publisher(client()).value();
    std::vector<Message> batch;
    for (int i = 0; i < 1'000; ++i) {
        batch.push_back(message("key" + std::to_string(i % 50), i));
        batch.back().tag = "t";
        batch.back().keys = {"a", "b"};
        batch.back().headers.set("x", "y");
    }
    batch.push_back(message("", 1'000));
    for (const auto& outcome : publish(*publisher, batch)) {
        ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
        EXPECT_NE(outcome.broker_id.find('@'), std::string::npos);
    }
    const auto subscription = open_subscription(client(), from_first(), fast()).value();
    std::map<std::string, int> last;
    const auto deliveries = consume(*subscription, batch.size());
    ASSERT_EQ(deliveries.size(), batch.size());
    for (const Delivery& delivery : deliveries) {
        const int number = std::stoi(delivery.message.body);
        EXPECT_EQ(delivery.message, batch[static_cast<std::size_t>(number)]);
        EXPECT_GT(delivery.stored_at, system_clock().system_now() - 1min);
        const auto [key, first] = last.try_emplace(delivery.message.ordering_key, -1);
        EXPECT_GT(number, key->second);
        key->second = number;
    }
    EXPECT_EQ(last.size(), 51U);
}

TEST_F(WithKafka, OnlyWhatWasAcknowledgedInOrderStaysAway) {
    const auto publisher = open_publisher(client()).value();
    publish_all(*publisher, {message("k", 0), message("k", 1), message("k", 2), message("k", 3)});
    {
        const auto first = open_subscription(client(), from_first(), fast()).value();
        auto deliveries = receive(*first, 4);
        ASSERT_EQ(deliveries.size(), 4U);
        deliveries.erase(deliveries.begin() + 1);  // 1 is not dealt with
        acknowledge(*first, deliveries);
    }
    const auto second = open_subscription(client(), from_first(), fast()).value();
    const auto again = consume(*second, 3);
    ASSERT_EQ(again.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(again[i].message.body, std::to_string(i + 1));
}

TEST_F(WithKafka, MembersShareThePartitionsAndTakeOver) {
    const auto publisher = open_publisher(client()).value();
    std::vector<Message> batch;
    for (int i = 0; i < 40; ++i) batch.push_back(message("key" + std::to_string(i), i));
    publish_all(*publisher, batch);
    const auto first = open_subscription(client(), from_first(), fast()).value();
    EXPECT_EQ(consume(*first, 40).size(), 40U);
    auto second = open_subscription(client(), from_first(), fast()).value();
    std::vector<std::uint64_t> lost;
    while (lost.empty()) {
        EXPECT_TRUE(first->receive(1, 20ms, {}).value().empty()) << "acknowledged before they moved";
        lost = first->lost_queues();
    }
    EXPECT_EQ(lost.size(), 2U) << "half of four";
    publish_all(*publisher, batch);
    std::set<std::string> seen;
    std::size_t by_second = 0;
    while (seen.size() < 40) {
        for (auto* member : {first.get(), second.get()}) {
            const auto some = member->receive(100, 50ms, {}).value();
            acknowledge(*member, some);
            for (const auto& delivery : some) seen.insert(delivery.message.body);
            by_second += member == second.get() ? some.size() : 0;
        }
    }
    EXPECT_GT(by_second, 0U);
    second.reset();
    publish_all(*publisher, batch);
    seen.clear();
    while (seen.size() < 40) {
        const auto some = consume(*first, 1);
        ASSERT_FALSE(some.empty());
        seen.insert(some[0].message.body);
    }
}

TEST_F(WithKafka, AKilledBrokerLosesNothingThatWasConfirmed) {
    const auto publisher = open_publisher(client(), {.send_timeout = 1'500ms}).value();
    while (publish(*publisher, {message("warm", 0)}).front().status != PublishStatus::confirmed) {
    }
    const auto subscription = open_subscription(client(), from_first(), fast()).value();
    constexpr int keys = 20;
    std::map<std::string, int> next;  // first number of the key that is not confirmed
    std::map<std::string, int> seen;
    bool reordered = false;
    std::size_t unconfirmed = 0;
    const auto look = [&](std::chrono::milliseconds wait) {
        const auto deliveries = subscription->receive(1'000, wait, {}).value();
        for (const Delivery& delivery : deliveries) {
            int& last = seen.try_emplace(delivery.message.ordering_key, -1).first->second;
            const int number = std::stoi(delivery.message.body);
            reordered = reordered || number > last + 1;  // lower ones are copies
            last = std::max(last, number);
        }
        acknowledge(*subscription, deliveries);
        return !deliveries.empty();
    };
    for (int round = 0; round < 3; ++round) {
        std::vector<Message> batch;
        for (int i = 0; i < 1'000; ++i) {
            const std::string key = "key" + std::to_string(i % keys);
            batch.push_back(message(key, next[key] + i / keys));
        }
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher->publish(batch, outcomes, [&done] { done.set_value(); });
        if (round % 2 == 1) {
            server->kill();
            server->start();
        }
        done.get_future().wait();
        std::set<std::string> failed;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const std::string& key = batch[i].ordering_key;
            if (outcomes[i].status == PublishStatus::confirmed) {
                EXPECT_FALSE(failed.contains(key)) << "the confirmed ones are a prefix";
                ++next[key];
            } else {
                EXPECT_NE(outcomes[i].status, PublishStatus::rejected) << outcomes[i].error.text();
                failed.insert(key);
                ++unconfirmed;
            }
        }
        look(10ms);
    }
    const auto behind = [&] {
        return std::any_of(next.begin(), next.end(), [&](const auto& one) {
            const auto found = seen.find(one.first);
            return one.second > 0 && (found == seen.end() || found->second < one.second - 1);
        });
    };
    while (behind()) {
        ASSERT_TRUE(look(20s)) << "a confirmed message did not arrive";
    }
    EXPECT_FALSE(reordered);
    EXPECT_GT(unconfirmed, 0U) << "the broker was not killed in the middle of anything";
}

TEST_F(WithKafka, WhatTheBrokerRefusesIsRejectedAndNothingElse) {
    const auto publisher = open_publisher(client()).value();
    Message large = message("k", 1);
    large.body.assign(300'000, 'x');
    Message own_limit = message("", 2);
    own_limit.body.assign(2'000'000, 'x');
    const auto outcomes = publish(*publisher, {message("k", 0), large, message("k", 2), message("other", 3), own_limit});
    EXPECT_EQ(outcomes[0].status, PublishStatus::confirmed);
    EXPECT_EQ(outcomes[1].status, PublishStatus::rejected);
    EXPECT_EQ(outcomes[1].error.code(), ErrorCode::too_large);
    EXPECT_NE(outcomes[1].error.text().find("max.message.bytes"), std::string::npos) << outcomes[1].error.text();
    EXPECT_EQ(outcomes[2].status, PublishStatus::not_sent);
    EXPECT_EQ(outcomes[3].status, PublishStatus::confirmed);
    EXPECT_EQ(outcomes[4].status, PublishStatus::rejected);
    publish_all(*publisher, {message("k", 2)});
}

/// Counts the lines of one event.
class CountingLog final : public Log {
public:
    explicit CountingLog(std::string_view event) : event_{event} {}
    [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
    void write(LogLevel, std::string_view event, std::initializer_list<LogField>) noexcept override {
        if (event == event_) ++count;
    }
    std::atomic<int> count = 0;

private:
    std::string_view event_;
};

TEST_F(WithKafka, AProducerThatFailsForGoodIsReplaced) {
    activate_mutant("kafka_producer_fails_once");
    CountingLog log{"Kafka producer starts anew"};
    const auto publisher = open_publisher(client(), {}, system_clock(), system_random(), log).value();
    publish_all(*publisher, {message("k", 0)});  // which lets it fail
    // What is out when it fails is not confirmed, or waits for the new one; nothing is left without an outcome.
    int number = 1;
    while (log.count == 0) publish(*publisher, {message("k", number++)});
    for (int tries = 0; publish(*publisher, {message("k", number)}).front().status != PublishStatus::confirmed; ++tries) {
        ASSERT_LT(tries, 100);
    }
    publish_all(*publisher, {message("k", number + 1), message("", 0)});
    EXPECT_EQ(log.count, 1);
    activate_mutant({});
}

TEST_F(WithKafka, ForeignRecordsBecomeMessagesWithAnIdThatStays) {
    char problem[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    ASSERT_EQ(rd_kafka_conf_set(conf, "bootstrap.servers", server->address().c_str(), problem, sizeof problem),
              RD_KAFKA_CONF_OK);
    rd_kafka_t* foreign = rd_kafka_new(RD_KAFKA_PRODUCER, conf, problem, sizeof problem);
    ASSERT_NE(foreign, nullptr) << problem;
    char body[] = "plain";
    ASSERT_EQ(rd_kafka_producev(foreign, RD_KAFKA_V_TOPIC(topic().c_str()), RD_KAFKA_V_VALUE(body, 5),
                                RD_KAFKA_V_HEADER("colour", "red", 3), RD_KAFKA_V_END),
              RD_KAFKA_RESP_ERR_NO_ERROR);
    ASSERT_EQ(rd_kafka_producev(foreign, RD_KAFKA_V_TOPIC(topic().c_str()), RD_KAFKA_V_KEY("k", 1), RD_KAFKA_V_END),
              RD_KAFKA_RESP_ERR_NO_ERROR);
    ASSERT_EQ(rd_kafka_flush(foreign, 20'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(foreign);

    std::map<std::string, Message> first;
    for (int member = 0; member < 2; ++member) {
        SubscriptionOptions options = from_first();
        options.group += std::to_string(member);
        const auto subscription = open_subscription(client(), options, fast()).value();
        for (const auto& delivery : consume(*subscription, 2)) {
            EXPECT_FALSE(delivery.message.id.is_nil());
            const auto [known, is_new] = first.try_emplace(delivery.message.body, delivery.message);
            EXPECT_EQ(is_new, member == 0);
            EXPECT_EQ(known->second, delivery.message) << "the same for every group";
        }
    }
    ASSERT_EQ(first.size(), 2U);
    EXPECT_EQ(first["plain"].headers.get("colour"), "red");
    EXPECT_EQ(first[""].headers.get("hufu-no-value"), "true");
    EXPECT_EQ(first[""].ordering_key, "k");
}

TEST_F(WithKafka, AGroupThatBeginsAtTheEndSkipsNothingAfterItsFirstAssignment) {
    const auto publisher = open_publisher(client()).value();
    publish_all(*publisher, {message("k", 0)});
    SubscriptionOptions options = from_first();
    options.from = SubscriptionOptions::From::last;
    {
        const auto first = open_subscription(client(), options, fast()).value();
        // Until the group has its position, what is published is before its beginning.
        std::vector<Delivery> deliveries;
        for (int i = 1; deliveries.empty(); ++i) {
            ASSERT_LT(i, 200);
            publish_all(*publisher, {message("k", i)});
            deliveries = first->receive(1, 100ms, {}).value();
        }
        EXPECT_NE(deliveries[0].message.body, "0");
    }
    publish_all(*publisher, {message("k", 1'000)});
    const auto second = open_subscription(client(), options, fast()).value();
    const auto deliveries = receive(*second, 1);
    ASSERT_EQ(deliveries.size(), 1U);
    EXPECT_NE(deliveries[0].message.body, "1000") << "what was not acknowledged comes first";
}

TEST_F(WithKafka, AFullMemberPausesAndGoesOn) {
    const auto publisher = open_publisher(client()).value();
    std::vector<Message> batch;
    for (int i = 0; i < 3'000; ++i) batch.push_back(message("", i));
    publish_all(*publisher, batch);
    SubscriberOptions options = fast();
    options.cached_messages_max = 50;
    const auto subscription = open_subscription(client(), from_first(), options).value();
    std::set<std::string> seen;
    while (seen.size() < batch.size()) {
        const auto some = consume(*subscription, 1);
        ASSERT_FALSE(some.empty()) << seen.size();
        for (const auto& delivery : some) EXPECT_TRUE(seen.insert(delivery.message.body).second);
    }
}

TEST_F(WithKafka, ASubscriptionEndsWhileRecordsArrive) {
    const auto publisher = open_publisher(client()).value();
    std::vector<Message> batch;
    for (int i = 0; i < 2'000; ++i) batch.push_back(message("", i));
    publish_all(*publisher, batch);
    for (int round = 0; round < 3; ++round) {
        SubscriptionOptions options = from_first();
        options.group += std::to_string(round);
        const auto subscription = open_subscription(client(), options, fast()).value();
        EXPECT_EQ(receive(*subscription, 1).size(), 1U);
    }
}

TEST_F(WithKafka, ASubscriptionWaitsForItsTopic) {
    const auto subscription = open_subscription(client(), from_first(), fast()).value();
    EXPECT_TRUE(subscription->receive(1, 200ms, {}).value().empty());
    const auto publisher = open_publisher(client()).value();
    publish_all(*publisher, {message("k", 7)});
    EXPECT_EQ(consume(*subscription, 1).size(), 1U);
}

TEST(WithoutKafka, EverythingEndsInTime) {
    auto publisher = open_publisher({.servers = {"127.0.0.1:1"}}).value();
    const std::vector<Message> batch{{.topic = "t", .ordering_key = "k", .body = "0"},
                                     {.topic = "t", .ordering_key = "k", .body = "1"},
                                     {.topic = "t", .body = "2"}};
    std::vector<PublishOutcome> outcomes(batch.size());
    std::promise<void> done;
    publisher->publish(batch, outcomes, [&done] { done.set_value(); });
    publisher.reset();
    done.get_future().get();
    for (const auto& outcome : outcomes) EXPECT_EQ(outcome.status, PublishStatus::not_sent);

    auto impatient = open_publisher({.servers = {"127.0.0.1:1"}}, {.send_timeout = 200ms}).value();
    std::promise<void> timed_out;
    impatient->publish(batch, outcomes, [&timed_out] { timed_out.set_value(); });
    timed_out.get_future().get();
    EXPECT_EQ(outcomes[0].status, PublishStatus::not_sent);
    EXPECT_EQ(outcomes[0].error.code(), ErrorCode::timeout) << outcomes[0].error.text();
    EXPECT_EQ(outcomes[1].error.code(), ErrorCode::cancelled);

    const SteadyTime begin = system_clock().steady_now();
    {
        const auto subscription =
            open_subscription({.servers = {"127.0.0.1:1"}}, {.group = "g", .topics = {"t"}}, {.close_timeout = 500ms})
                .value();
        EXPECT_TRUE(subscription->receive(1, 100ms, {}).value().empty());
    }
    EXPECT_LT(system_clock().steady_now() - begin, 10s);
}

}  // namespace
}  // namespace hufu::kafka
