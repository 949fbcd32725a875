#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include <hufu/connect/ladder.hpp>

namespace hufu::connect {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* nobody = "rocketmq://127.0.0.1:1";

/// What is said to these addresses, which nobody may take.
std::string refusal_of(const LadderAddresses& addresses, const degradation::LadderOptions& options = {}) {
    const auto opened = buffering_publisher(addresses, options);
    EXPECT_FALSE(opened);
    if (opened) return "";
    EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(opened.error().disposition(), Disposition::reject);
    return opened.error().text();
}

TEST(LadderAddresses, NameTheRungWhoseAddressIsWrong) {
    EXPECT_THAT(refusal_of({.broker = "amqp://mq", .redis = "redis://127.0.0.1:1"}),
                AllOf(HasSubstr("ladder: broker:"), HasSubstr("\"amqp://mq\""), HasSubstr("rocketmq://HOST:PORT")));
    EXPECT_THAT(refusal_of({.broker = nobody, .second_broker = "rocketmq://mq"}),
                AllOf(HasSubstr("ladder: second_broker:"), HasSubstr("HOST:PORT")));
    EXPECT_THAT(refusal_of({.broker = nobody, .redis = "memcached://cache"}),
                AllOf(HasSubstr("redis \"memcached://cache\""), HasSubstr("redis://HOST")));
    EXPECT_THAT(refusal_of({.broker = nobody, .redis = "redis://cache?shard=4"}),
                AllOf(HasSubstr("ladder: redis:"), HasSubstr("\"shard\" is not a setting")));
    EXPECT_THAT(refusal_of({.broker = nobody, .journal = "/var/lib/orders"}),
                AllOf(HasSubstr("journal \"/var/lib/orders\""), HasSubstr("journal:DIR")));
}

TEST(LadderAddresses, RefuseRungsInEachOthersPlace) {
    EXPECT_THAT(refusal_of({.broker = nobody, .redis = "journal:/var/lib/orders"}), HasSubstr("redis \"journal:"));
    EXPECT_THAT(refusal_of({.broker = nobody, .journal = "redis://cache"}), HasSubstr("journal \"redis://cache\""));
    EXPECT_THAT(refusal_of({.broker = "redis://cache", .journal = "journal:/tmp"}), HasSubstr("ladder: broker:"));
}

TEST(LadderAddresses, NeedABrokerAndSomethingBehindIt) {
    EXPECT_THAT(refusal_of({.redis = "redis://127.0.0.1:1"}), HasSubstr("broker \"\" is empty"));
    EXPECT_THAT(refusal_of({.broker = nobody}), AllOf(HasSubstr("the only rung"), HasSubstr("second_broker")));
    EXPECT_THAT(refusal_of({.broker = nobody, .second_broker = nobody}), HasSubstr("the first one again"));
}

TEST(LadderAddresses, KeepPasswordsOutOfErrors) {
    EXPECT_THAT(refusal_of({.broker = nobody, .journal = "redis://me:secret@cache"}), Not(HasSubstr("secret")));
    EXPECT_THAT(refusal_of({.broker = nobody, .redis = "http://me:secret@cache"}), Not(HasSubstr("secret")));
}

TEST(LadderAddresses, SayWhatANeedIs) {
    const auto with_needs = [](std::vector<std::string> needs) {
        return LadderAddresses{.broker = nobody, .redis = "redis://127.0.0.1:1", .needs = std::move(needs)};
    };
    for (const std::string need : {"page-views", "=everything", ""}) {
        EXPECT_THAT(refusal_of(with_needs({need})), AllOf(HasSubstr("\"" + need + "\""), HasSubstr("TOPIC=everything")));
    }
    EXPECT_THAT(refusal_of(with_needs({"page-views=some"})),
                AllOf(HasSubstr("\"page-views=some\""), HasSubstr("nothing, last_second or everything")));
    EXPECT_THAT(refusal_of(with_needs({"a=nothing", "b=nothing", "a=everything"})), HasSubstr("second one of topic \"a\""));
}

TEST(LadderAddresses, PassOnWhatTheLadderSaysOfItsOptions) {
    degradation::LadderOptions options;
    options.batch_messages = 0;
    EXPECT_THAT(refusal_of({.broker = nobody, .redis = "redis://127.0.0.1:1"}, options), HasSubstr("batch_messages"));
}

TEST(LadderAddresses, SayThatAnotherHasTheJournal) {
    const auto folder = testing::TempDir() + "hufu-ladder-journal-" + std::to_string(::getpid());
    const LadderAddresses addresses{.broker = nobody, .journal = "journal:" + folder};
    const auto first = buffering_publisher(addresses);
    ASSERT_TRUE(first) << first.error().text();
    const auto second = buffering_publisher(addresses);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
    EXPECT_THAT(second.error().text(), AllOf(HasSubstr("ladder: journal:"), HasSubstr(folder)));
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace hufu::connect
