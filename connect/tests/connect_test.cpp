#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include <hufu/connect/connect.hpp>

namespace hufu::connect {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Connect, ListsTheKnownStoresForAnUnknownOne) {
    for (const std::string url : {"mysql://localhost/orders", "orders.db", "sqlite:", "", "rocketmq://localhost:9876"}) {
        const auto opened = outbox(url);
        ASSERT_FALSE(opened) << url;
        EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(opened.error().text(),
                    AllOf(HasSubstr("\"" + url + "\""), HasSubstr("sqlite:PATH"), HasSubstr("postgresql://")));
    }
}

TEST(Connect, ListsTheKnownVerdictStoresForAnUnknownOne) {
    const auto opened = verdicts("redis://localhost");
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("a verdict store"), HasSubstr("sqlite:PATH")));
    EXPECT_EQ(verdicts("sqlite:/nonexistent/orders.db").error().code(), ErrorCode::not_found);
    EXPECT_TRUE(verdicts("postgresql://nobody@127.0.0.1:1/orders")) << "connected to at first use";
}

TEST(Connect, NamesWhatIsWrongWithABuffersAddress) {
    EXPECT_THAT(buffer("memcached://localhost").error().text(), AllOf(HasSubstr("a buffer"), HasSubstr("redis://")));
    EXPECT_THAT(buffer("redis://localhost?shard=4").error().text(), HasSubstr("\"shard\" is not a setting"));
    EXPECT_THAT(buffer("redis://localhost?shards=many").error().text(), HasSubstr("shards=\"many\" is not a number"));
    EXPECT_THAT(buffer("redis://localhost?shards=0").error().text(), HasSubstr("1 to 1024"));
    EXPECT_THAT(buffer("redis://localhost?may_lose=some").error().text(), HasSubstr("is not a loss"));
    EXPECT_THAT(buffer("redis://u:secret@localhost?x").error().text(), testing::Not(HasSubstr("secret")));
    EXPECT_THAT(buffer("redis://localhost:99999").error().text(), HasSubstr("1 to 65535"));
    const auto opened = buffer("redis://127.0.0.1:1/2?buffer=orders&shards=2");
    ASSERT_TRUE(opened) << "connected to at first use";
    EXPECT_EQ((*opened)->describe(), "redis://127.0.0.1:1, buffer orders");
    EXPECT_EQ((*opened)->size().error().code(), ErrorCode::unavailable);
}

TEST(Connect, ListsTheKnownBrokersForAnUnknownOne) {
    for (const std::string url : {"amqp://localhost:5672", "localhost:9876", "rocketmq://", "sqlite:orders.db"}) {
        const auto opened = publisher(url);
        ASSERT_FALSE(opened) << url;
        EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("rocketmq://HOST:PORT"), HasSubstr("embedded:DIR")));
    }
}

TEST(Connect, NamesABrokersAddressThatHasNoPort) {
    const auto opened = publisher("rocketmq://localhost");
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("\"localhost\""), HasSubstr("HOST:PORT")));
}

TEST(Connect, TakesTheSecretOfAnAccessKeyFromUrlEnvironmentOrFile) {
    EXPECT_TRUE(publisher("rocketmq://shop:the-secret@127.0.0.1:1"));
    const auto none = publisher("rocketmq://shop@127.0.0.1:1");
    ASSERT_FALSE(none);
    EXPECT_THAT(none.error().text(), AllOf(HasSubstr("\"shop\""), HasSubstr("HUFU_ROCKETMQ_SECRET_FILE")));
    const auto wrong = publisher("rocketmq://shop:the-secret@localhost");
    ASSERT_FALSE(wrong);
    EXPECT_THAT(wrong.error().text(), testing::Not(HasSubstr("the-secret")));
    const auto at = publisher("rocketmq://shop:the@secret@127.0.0.1:1");
    ASSERT_FALSE(at);
    EXPECT_THAT(at.error().text(), AllOf(HasSubstr("'@'"), testing::Not(HasSubstr("secret@"))));

    ASSERT_EQ(::setenv("HUFU_ROCKETMQ_SECRET_FILE", "/nonexistent", 1), 0);
    EXPECT_THAT(publisher("rocketmq://shop@127.0.0.1:1").error().text(), HasSubstr("/nonexistent"));
    ASSERT_EQ(::setenv("HUFU_ROCKETMQ_SECRET", "the-secret", 1), 0);
    EXPECT_TRUE(publisher("rocketmq://shop@127.0.0.1:1"));
    ::unsetenv("HUFU_ROCKETMQ_SECRET");
    ::unsetenv("HUFU_ROCKETMQ_SECRET_FILE");
}

TEST(Connect, OpensKafkaAddresses) {
    EXPECT_TRUE(publisher("kafka://127.0.0.1:1,127.0.0.1:2?compression.type=lz4&client.id=shop"));
    EXPECT_TRUE(publisher("kafka://me:secret@127.0.0.1:1?security.protocol=sasl_plaintext&sasl.mechanism=PLAIN"));
    EXPECT_TRUE(subscription("kafka://127.0.0.1:1", {.group = "g", .topics = {"t"}}));
    EXPECT_THAT(half_publisher("kafka://127.0.0.1:1").error().text(), HasSubstr("hufu forward"));
    EXPECT_THAT(publisher("kafka://localhost").error().text(), AllOf(HasSubstr("\"localhost\""), HasSubstr("host:port")));
    EXPECT_THAT(publisher("kafka://").error().text(), HasSubstr("kafka://HOST:PORT"));
    EXPECT_THAT(publisher("kafka://h:1?compression").error().text(), HasSubstr("\"compression\" is no PROPERTY=VALUE"));
    EXPECT_THAT(publisher("kafka://h:1?acks=1").error().text(), HasSubstr("\"acks\""));
    EXPECT_THAT(publisher("kafka://h:1?compression.type=zip").error().text(), HasSubstr("compression.type"));
    EXPECT_THAT(publisher("kafka://me@h:1").error().text(),
                AllOf(HasSubstr("\"me\""), HasSubstr("HUFU_KAFKA_PASSWORD_FILE")));
    EXPECT_THAT(publisher("kafka://me:a@b@h:1").error().text(), AllOf(HasSubstr("'@'"), testing::Not(HasSubstr("a@b"))));
}

TEST(Connect, KeepsPasswordsOutOfErrors) {
    const auto opened = outbox("mysql://me:secret@localhost/orders");
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("me:***@localhost"), testing::Not(HasSubstr("secret"))));
}

TEST(Connect, SaysThatADatabaseIsMissing) {
    const auto opened = outbox("sqlite:/nonexistent/orders.db");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::not_found);
}

TEST(Connect, PrintsTheMigrationsOfEachDialect) {
    EXPECT_THAT(printed_migrations("sqlite:").value(), HasSubstr("autoincrement"));
    EXPECT_THAT(printed_migrations("postgresql:").value(), HasSubstr("create"));
}

}  // namespace
}  // namespace hufu::connect
