// Publisher and Subscription against the bundled broker as a process of its own.
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <set>

#include <hufu/core/ids.hpp>
#include <hufu/rocketmq/client.hpp>

#include "broker_under_test.hpp"

namespace hufu::rocketmq {
namespace {

using namespace std::chrono_literals;

class WithBroker : public ::testing::Test {
protected:
    static std::vector<PublishOutcome> publish(hufu::Publisher& publisher, const std::vector<Message>& batch) {
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher.publish(batch, outcomes, [&done] { done.set_value(); });
        done.get_future().wait();
        return outcomes;
    }
    Message message(std::string key, int number) {
        return {.id = ids.next(), .topic = "orders", .ordering_key = std::move(key), .body = std::to_string(number)};
    }
    enum class Count : std::uint8_t { all, without_key };
    /// Receives and acknowledges until `count` messages of that kind came or nothing came for 20 s; returns these.
    static std::vector<Delivery> consume(hufu::Subscription& subscription, std::size_t count, Count kind = Count::all) {
        std::vector<Delivery> all;
        while (all.size() < count) {
            auto some = subscription.receive(100, 20s, {}).value();
            if (some.empty()) {
                break;
            }
            std::vector<DeliveryTag> tags;
            for (Delivery& delivery : some) {
                tags.push_back(delivery.tag);
                if (kind == Count::all || delivery.message.ordering_key.empty()) all.push_back(std::move(delivery));
            }
            subscription.acknowledge(tags);
        }
        return all;
    }

    MessageIdGenerator ids{system_clock(), system_random()};
    BrokerUnderTest broker;
};

class WithGuardedBroker : public WithBroker {
protected:
    static constexpr const char* accounts =
        "[account.shop]\nsecret_key = \"the secret of the shop\"\ntopics = [\"orders=PUB|SUB\"]\ngroups = [\"g=SUB\"]\n";
    [[nodiscard]] ClientOptions as(std::string access_key, std::string secret_key) const {
        ClientOptions client = guarded.tcp();
        client.access_key = std::move(access_key);
        client.secret_key = std::move(secret_key);
        return client;
    }
    BrokerUnderTest guarded{accounts};
};

TEST_F(WithGuardedBroker, SignedMessagesTravel) {
    for (const bool binary : {true, false}) {
        ClientOptions client = as("shop", "the secret of the shop");
        client.binary_headers = binary;
        const auto publisher = open_publisher(client).value();
        const std::vector<Message> batch{message("k", 0), message("k", 1), message("", 2)};
        for (const auto& outcome : publish(*publisher, batch)) {
            ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
        }
        const auto subscription = open_subscription(client, {.group = "g", .topics = {"orders"}}).value();
        EXPECT_EQ(consume(*subscription, 3).size(), 3U);
    }
}

TEST_F(WithGuardedBroker, WhoHasNoRightIsToldSo) {
    const auto outcome_of = [this](const ClientOptions& client, const std::string& topic) {
        const auto publisher = open_publisher(client, {.queue_timeout = 300ms}).value();
        Message one = message("k", 0);
        one.topic = topic;
        return publish(*publisher, {one}).front();
    };
    for (const auto& client : {guarded.tcp(), as("shop", "a secret of nobody's"), as("nobody", "the secret of the shop")}) {
        const auto outcome = outcome_of(client, "orders");
        EXPECT_EQ(outcome.status, PublishStatus::not_sent);
        EXPECT_NE(outcome.error.text().find("NO_PERMISSION"), std::string::npos) << outcome.error.text();
        EXPECT_NE(outcome.error.text().find("access key"), std::string::npos) << outcome.error.text();
    }
    const auto foreign = outcome_of(as("shop", "the secret of the shop"), "payroll");
    EXPECT_EQ(foreign.status, PublishStatus::not_sent);
    EXPECT_EQ(foreign.error.code(), ErrorCode::permission) << foreign.error.text();
    EXPECT_EQ(open_publisher(as("shop", "")).error().code(), ErrorCode::invalid_argument);
}

TEST_F(WithBroker, MessagesTravelInOrderPerKey) {
    for (const ClientOptions& client : {broker.tcp(), broker.unix_socket()}) {
        const auto publisher = open_publisher(client).value();
        std::vector<Message> batch;
        for (int i = 0; i < 1'000; ++i) {
            batch.push_back(message("key" + std::to_string(i % 20), i));
            batch.back().tag = "t";
            batch.back().keys = {"a", "b"};
            batch.back().headers.set("x", "y");
            batch.back().topic = client.name_servers[0].starts_with("unix") ? "over-unix" : "over-tcp";
        }
        for (const auto& outcome : publish(*publisher, batch)) {
            ASSERT_EQ(outcome.status, PublishStatus::confirmed) << outcome.error.text();
            EXPECT_FALSE(outcome.broker_id.empty());
        }
        const auto subscription = open_subscription(client, {.group = "g", .topics = {batch[0].topic}}).value();
        std::map<std::string, int> last;
        for (const Delivery& delivery : consume(*subscription, batch.size())) {
            const int number = std::stoi(delivery.message.body);
            EXPECT_EQ(delivery.message, batch[static_cast<std::size_t>(number)]);
            const auto [key, first] = last.try_emplace(delivery.message.ordering_key, -1);
            EXPECT_GT(number, key->second);
            key->second = number;
        }
        EXPECT_EQ(last.size(), 20U);
    }
}

TEST_F(WithBroker, PositionsOutliveTheMember) {
    const auto publisher = open_publisher(broker.tcp()).value();
    publish(*publisher, {message("k", 0), message("k", 1), message("k", 2)});
    {
        const auto first = open_subscription(broker.tcp(), {.group = "g", .topics = {"orders"}}).value();
        EXPECT_EQ(consume(*first, 2).size(), 3U);
    }
    publish(*publisher, {message("k", 3)});
    const auto second = open_subscription(broker.tcp(), {.group = "g", .topics = {"orders"}}).value();
    const auto deliveries = consume(*second, 1);
    ASSERT_EQ(deliveries.size(), 1U);
    EXPECT_EQ(deliveries[0].message.body, "3");
}

TEST_F(WithBroker, MembersShareTheQueuesAndTakeOver) {
    const auto publisher = open_publisher(broker.tcp()).value();
    publish(*publisher, {message("k", 0)});
    auto first = open_subscription(broker.tcp(), {.group = "g", .topics = {"orders"}}).value();
    EXPECT_EQ(consume(*first, 1).size(), 1U);
    auto second = open_subscription(broker.tcp(), {.group = "g", .topics = {"orders"}}).value();
    std::vector<std::uint64_t> lost;
    while (lost.empty()) {
        EXPECT_TRUE(first->receive(1, 20ms, {}).value().empty());
        lost = first->lost_queues();
    }
    EXPECT_EQ(lost.size(), 4U) << "half of eight";
    std::vector<Message> batch;
    for (int i = 0; i < 80; ++i) {
        batch.push_back(message("", i));
    }
    publish(*publisher, batch);
    // The first message may come again: its queue can change hands before the position that covers it is stored.
    EXPECT_EQ(consume(*first, 40, Count::without_key).size(), 40U);
    EXPECT_EQ(consume(*second, 40, Count::without_key).size(), 40U);
    second.reset();
    publish(*publisher, batch);
    EXPECT_EQ(consume(*first, 80, Count::without_key).size(), 80U);
}

TEST_F(WithBroker, AKilledBrokerLosesNothingThatWasConfirmed) {
    auto client = broker.tcp();
    client.reconnect = RetrySchedule::capped(20ms, 100ms).jitter(0.5);
    const auto publisher = open_publisher(client).value();
    const auto subscription = open_subscription(client, {.group = "g", .topics = {"orders"}}).value();
    constexpr int keys = 10;
    std::map<std::string, int> next;  // first number of the key that is not confirmed
    std::map<std::string, int> seen;
    bool reordered = false;
    const auto look = [&](std::chrono::milliseconds wait) {
        std::vector<DeliveryTag> tags;
        for (const Delivery& delivery : subscription->receive(1'000, wait, {}).value()) {
            int& last = seen.try_emplace(delivery.message.ordering_key, -1).first->second;
            const int number = std::stoi(delivery.message.body);
            reordered = reordered || number > last + 1;  // lower ones are copies
            last = std::max(last, number);
            tags.push_back(delivery.tag);
        }
        subscription->acknowledge(tags);
        return !tags.empty();
    };
    for (int round = 0; round < 6; ++round) {
        std::vector<Message> batch;
        for (int i = 0; i < 2'000; ++i) {
            const std::string key = "key" + std::to_string(i % keys);
            batch.push_back(message(key, next[key] + i / keys));
        }
        std::vector<PublishOutcome> outcomes(batch.size());
        std::promise<void> done;
        publisher->publish(batch, outcomes, [&done] { done.set_value(); });
        if (round % 2 == 1) {
            broker.kill();
            broker.start();
        }
        done.get_future().wait();
        std::set<std::string> failed;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const std::string& key = batch[i].ordering_key;
            if (outcomes[i].status == PublishStatus::confirmed) {
                EXPECT_FALSE(failed.contains(key)) << "the confirmed ones are a prefix";
                ++next[key];
            } else {
                failed.insert(key);
            }
        }
        look(10ms);
    }
    const auto behind = [&] {
        for (const auto& [key, confirmed] : next) {
            const auto found = seen.find(key);
            if (confirmed > 0 && (found == seen.end() || found->second < confirmed - 1)) {
                return true;
            }
        }
        return false;
    };
    while (behind()) {
        ASSERT_TRUE(look(20s)) << "a confirmed message did not arrive";
    }
    EXPECT_FALSE(reordered);
}

TEST_F(WithBroker, ASubscriptionWaitsForItsTopic) {
    const auto subscription = open_subscription(broker.tcp(), {.group = "g", .topics = {"orders"}}).value();
    EXPECT_TRUE(subscription->receive(1, 100ms, {}).value().empty());
    const auto publisher = open_publisher(broker.tcp()).value();
    publish(*publisher, {message("k", 7)});
    EXPECT_EQ(consume(*subscription, 1).size(), 1U);
}

TEST_F(WithBroker, ClosesWhatIsUnderWay) {
    auto publisher = open_publisher(ClientOptions{.name_servers = {"127.0.0.1:1"}}).value();
    const std::vector<Message> batch{message("k", 0)};
    std::vector<PublishOutcome> outcomes(1);
    std::promise<void> done;
    publisher->publish(batch, outcomes, [&done] { done.set_value(); });
    publisher.reset();
    done.get_future().get();
    EXPECT_EQ(outcomes[0].status, PublishStatus::not_sent);
}

TEST(Options, AreCheckedBeforeAnythingStarts) {
    EXPECT_EQ(open_publisher({.name_servers = {}}).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(open_publisher({.name_servers = {"nohost"}}).error().text(),
              "name server \"nohost\" is no address: write host:port or unix:/path");
    EXPECT_EQ(open_publisher({.name_servers = {"h:70000"}}).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(open_publisher({.name_servers = {"h:1"}}, {.batch_messages_max = 0}).error().code(),
              ErrorCode::invalid_argument);
    EXPECT_EQ(open_subscription({.name_servers = {"h:1"}}, {.group = "a b", .topics = {"t"}}).error().code(),
              ErrorCode::invalid_argument);
    EXPECT_EQ(open_subscription({.name_servers = {"h:1"}}, {.group = "g", .topics = {}}).error().code(),
              ErrorCode::invalid_argument);
    EXPECT_EQ(open_subscription({.name_servers = {"h:1"}}, {.group = "g", .topics = {"a b"}}).error().code(),
              ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace hufu::rocketmq
