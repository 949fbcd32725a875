// A ladder made of addresses, at a Redis that dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include <hufu/connect/ladder.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/random.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu {
namespace {

PublishOutcome published(Publisher& publisher, const std::string& topic, const std::string& key) {
    static MessageIdGenerator ids{system_clock(), system_random()};
    const std::vector<Message> messages{{.id = ids.next(), .topic = topic, .ordering_key = key, .body = "42"}};
    std::vector<PublishOutcome> outcomes(1);
    std::promise<void> done;
    publisher.publish(messages, outcomes, [&done] { done.set_value(); });
    done.get_future().wait();
    return outcomes[0];
}

std::uint64_t entries_in(const std::string& url) { return connect::buffer(url).value()->size().value().entries; }

TEST(LadderAddress, LeadsFromADeadBrokerToRedisAndFromADeadRedisToTheJournal) {
    test_support::RedisServer redis{{.durable = true}};
    const test_support::PrivateFolder folder{"ladder"};
    const std::string broker_url = "rocketmq://127.0.0.1:" + std::to_string(test_support::free_port());
    const std::string redis_url = redis.url() + "?buffer=orders";
    const std::string journal_url = "journal:" + folder.path() + "/journal";
    {
        // [ladder]
        auto publisher = hufu::connect::buffering_publisher({.broker = broker_url,
                                                             .redis = redis_url,      // redis://cache:6379?buffer=orders
                                                             .journal = journal_url,  // journal:/var/lib/orders/journal
                                                             .needs = {"page-views=everything"}})
                             .value();
        // [/ladder]
        EXPECT_EQ(published(*publisher, "orders", "o-1").broker_id, "buffer:redis");
        redis.kill();
        EXPECT_EQ(published(*publisher, "orders", "o-2").broker_id, "buffer:journal");
        redis.start();
    }
    EXPECT_EQ(entries_in(redis_url), 1u) << "under the name in the address";
    EXPECT_EQ(entries_in(journal_url), 1u);
}

TEST(LadderAddress, PassesOverARungThatMayLoseMoreThanATopicNeeds) {
    test_support::RedisServer redis;  // keeps nothing over a restart
    const test_support::PrivateFolder folder{"ladder"};
    const auto publisher =
        connect::buffering_publisher({.broker = "rocketmq://127.0.0.1:" + std::to_string(test_support::free_port()),
                                      .redis = redis.url(),
                                      .journal = "journal:" + folder.path() + "/journal",
                                      .needs = {"page-views=everything"}})
            .value();
    EXPECT_EQ(published(*publisher, "page-views", "p-1").broker_id, "buffer:redis");
    EXPECT_EQ(published(*publisher, "orders", "o-1").broker_id, "buffer:journal") << "needs nothing lost, undeclared";
}

}  // namespace
}  // namespace hufu
