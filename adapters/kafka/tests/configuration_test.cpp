#include "configuration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::kafka {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

const ClientOptions client{.servers = {"a:9092", "b:9093"}};

TEST(Configuration, TheProducerIsIdempotentAndWaitsForAllReplicas) {
    const auto properties = producer_properties(client, {});
    EXPECT_THAT(properties, Contains(Pair("bootstrap.servers", "a:9092,b:9093")));
    EXPECT_THAT(properties, Contains(Pair("enable.idempotence", "true")));
    EXPECT_THAT(properties, Contains(Pair("acks", "all")));
    EXPECT_THAT(properties, Contains(Pair("partitioner", "murmur2_random")));
}

TEST(Configuration, TheConsumerCommitsByHand) {
    const auto properties = consumer_properties(client, {.group = "g", .topics = {"t"}}, {});
    EXPECT_THAT(properties, Contains(Pair("enable.auto.commit", "false")));
    EXPECT_THAT(properties, Contains(Pair("isolation.level", "read_committed")));
}

TEST(Configuration, LibrdkafkaTakesAllOfIt) {
    Opaque opaque{no_log()};
    auto produces = configuration(producer_properties(client, {}), opaque);
    ASSERT_TRUE(produces) << produces.error().text();
    EXPECT_TRUE(start(RD_KAFKA_PRODUCER, std::move(*produces)));
    auto consumes = configuration(consumer_properties(client, {.group = "g", .topics = {"t"}}, {}), opaque);
    ASSERT_TRUE(consumes) << consumes.error().text();
    EXPECT_TRUE(start(RD_KAFKA_CONSUMER, std::move(*consumes)));
}

TEST(Configuration, OptionsAreCheckedBeforeAnythingStarts) {
    const auto text = [](const auto& opened) { return opened ? std::string{} : opened.error().text(); };
    EXPECT_THAT(text(open_publisher({})), HasSubstr("host:port"));
    for (const std::string server : {"nohost", ":1", "h:0", "h:70000", "h:1,i:2", "h:x"}) {
        EXPECT_THAT(text(open_publisher({.servers = {server}})), HasSubstr("\"" + server + "\""));
    }
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}, .properties = {{"acks", "1"}}})), HasSubstr("\"acks\""));
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}, .properties = {{"no.such", "1"}}})), HasSubstr("\"no.such\""));
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}}, {.queue_messages_max = 0})), HasSubstr("queue_messages_max"));
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}}, {.queue_bytes_max = 10})), HasSubstr("queue_bytes_max"));
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}}, {.linger = 20s})), HasSubstr("linger"));
    EXPECT_THAT(text(open_publisher({.servers = {"h:1"}}, {.send_timeout = 1ms})), HasSubstr("send_timeout"));
    const ClientOptions one{.servers = {"h:1"}};
    EXPECT_THAT(text(open_subscription(one, {.group = "", .topics = {"t"}})), HasSubstr("group"));
    EXPECT_THAT(text(open_subscription(one, {.group = "g", .topics = {}})), HasSubstr("topics"));
    EXPECT_THAT(text(open_subscription(one, {.group = "g", .topics = {"a b"}})), HasSubstr("\"a b\""));
    EXPECT_THAT(text(open_subscription(one, {.group = "g", .topics = {"t"}}, {.session_timeout = 1ms})),
                HasSubstr("session_timeout"));
    EXPECT_THAT(text(open_subscription(one, {.group = "g", .topics = {"t"}}, {.cached_messages_max = 0})),
                HasSubstr("cached_messages_max"));
}

}  // namespace
}  // namespace hufu::kafka
