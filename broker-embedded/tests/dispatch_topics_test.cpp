// Topics: what is stored of them, which messages they take, and when their sends are answered.
#include <gmock/gmock.h>

#include <hufu/remoting/batch.hpp>

#include "dispatch/topics.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string properties(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
    std::string text;
    for (const auto& [name, value] : pairs) remoting::append_property(text, name, value);
    return text;
}

std::string refusal(Attributes attributes, std::string_view change, bool creating = false) {
    const Attributes before = attributes;
    const auto changed = change_attributes(attributes, change, creating, false);
    EXPECT_FALSE(changed) << change;
    EXPECT_EQ(attributes, before) << "a refused change leaves nothing behind";
    return changed ? "" : changed.error().text();
}

TEST(TopicConfig, ReadsWhatItWrites) {
    TopicConfig config{4, 8, 6, true, 1, {{"message.type", "FIFO"}, {"flush.type", "async"}}};
    EXPECT_EQ(TopicConfig::parse(config.to_text()), config);
    config.attributes.clear();
    EXPECT_EQ(TopicConfig::parse(config.to_text()), config);
}

TEST(TopicConfig, ReadsTheFormOfEarlierVersions) {
    EXPECT_EQ(TopicConfig::parse("8 6"), (TopicConfig{8, 8, 6, false, 0, {}}));
}

TEST(TopicConfig, RefusesWhatIsNoConfig) {
    for (const char* text : {"", "8", "8 x", "0 6", "8 8 6", "8 8 6 0", "8 8 9 0 0", "99999999999 6", "8 8 6 0 zero"})
        EXPECT_EQ(TopicConfig::parse(text), std::nullopt) << text;
}

TEST(TopicAttributes, AreAddedChangedAndRemoved) {
    Attributes attributes;
    ASSERT_TRUE(change_attributes(attributes, "+message.type=FIFO,+flush.type=async", true, false));
    EXPECT_EQ(attributes, (Attributes{{"message.type", "FIFO"}, {"flush.type", "async"}}));
    ASSERT_TRUE(change_attributes(attributes, "+message.type=NORMAL,-flush.type", false, false));
    EXPECT_EQ(attributes, (Attributes{{"message.type", "NORMAL"}}));
    ASSERT_TRUE(change_attributes(attributes, "", false, false));
    EXPECT_EQ(attributes, (Attributes{{"message.type", "NORMAL"}}));
}

TEST(TopicAttributes, SayWhatIsWrongWithAChange) {
    EXPECT_THAT(refusal({}, "message.type=FIFO"), HasSubstr("must be +key=value or -key"));
    EXPECT_THAT(refusal({}, "+colour=red"), HasSubstr("\"colour\" is unknown"));
    EXPECT_THAT(refusal({}, "+message.type=URGENT"), HasSubstr("NORMAL FIFO DELAY"));
    EXPECT_THAT(refusal({}, "+message.type=MIXED"), HasSubstr("enableMixedMessageType"));
    EXPECT_THAT(refusal({}, "+flush.type=sync,+flush.type=async"), HasSubstr("named twice"));
    EXPECT_THAT(refusal({}, "-flush.type"), HasSubstr("is not set"));
    EXPECT_THAT(refusal({}, "+reserve.time=-2"), HasSubstr("at least -1"));
    EXPECT_THAT(refusal({{"queue.type", "SimpleCQ"}}, "-queue.type"), HasSubstr("cannot be changed"));
    EXPECT_THAT(refusal({{"flush.type", "sync"}}, "-flush.type", true), HasSubstr("is not set"));
    EXPECT_THAT(refusal({}, std::string(5000, '+')), HasSubstr("5000 bytes"));
}

TEST(TopicAttributes, MixedTopicsAreAChoiceOfTheBroker) {
    Attributes attributes;
    EXPECT_TRUE(change_attributes(attributes, "+message.type=MIXED", true, true));
}

class TopicTest : public DispatchTest {
protected:
    /// A topic that is stored before the dispatcher starts.
    void stored_topic(std::string_view name, std::string_view text) {
        if (!log) log = Log::open(disk.directory(), log_options, clock).value();
        ASSERT_TRUE(log->put_state(std::string{"topic/"}.append(name), text));
        settle(*log);
    }
    void go() {
        dispatcher = std::make_unique<Dispatcher>(*log, options, ids, metrics, clock);
        client = connect();
    }
    remoting::TopicRoute route(std::string_view topic) {
        return remoting::TopicRoute::parse(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{topic}).body).value();
    }
};

TEST_F(TopicTest, FromAnEarlierVersionStaysAsItWas) {
    stored_topic("orders", "3 6");
    go();
    const auto queues = route("orders").queues.at(0);
    EXPECT_EQ(queues.read_queues, 3);
    EXPECT_EQ(queues.write_queues, 3);
    EXPECT_EQ(send("orders", 2, "x").response(), ResponseCode::success);
}

TEST_F(TopicTest, TakesOnlyMessagesOfItsType) {
    stored_topic("fifo", "4 4 6 0 0 message.type=FIFO");
    stored_topic("normal", "4 4 6 0 0 message.type=NORMAL");
    stored_topic("any", "4 4 6 0 0");
    go();
    const std::string keyed = properties({{"__SHARDINGKEY", "order-7"}});
    const std::string keyed_by_go = properties({{"SHARDING_KEY", "order-7"}});
    EXPECT_EQ(send("fifo", 0, "x", keyed).response(), ResponseCode::success);
    EXPECT_EQ(send("fifo", 0, "x", keyed_by_go).response(), ResponseCode::success);
    const Sent keyless = send("fifo", 0, "x");
    EXPECT_EQ(keyless.response(), ResponseCode::message_illegal);
    EXPECT_EQ(keyless.remark, "topic \"fifo\" is FIFO: a message needs an ordering key (property __SHARDINGKEY)");
    EXPECT_EQ(send("normal", 0, "x").response(), ResponseCode::success);
    const Sent with_key = send("normal", 0, "x", keyed);
    EXPECT_EQ(with_key.response(), ResponseCode::message_illegal);
    EXPECT_THAT(with_key.remark, HasSubstr("is NORMAL: it takes no FIFO message"));
    EXPECT_EQ(send("any", 0, "x", keyed).response(), ResponseCode::success);
    EXPECT_EQ(send("any", 0, "x").response(), ResponseCode::success);
}

TEST_F(TopicTest, RefusesABatchThatHoldsOneMessageOfAnotherType) {
    stored_topic("fifo", "1 1 6 0 0 message.type=FIFO");
    go();
    const std::string keyed = properties({{"__SHARDINGKEY", "a"}});
    std::string body;
    remoting::append_batch_entry(body, {0, "one", keyed});
    remoting::append_batch_entry(body, {0, "two", ""});
    remoting::SendRequest header = send_header("fifo", 0);
    header.batch = true;
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, body).response(), ResponseCode::message_illegal);
    EXPECT_EQ(ask(RequestCode::get_max_offset, remoting::QueueRequest{"fifo", 0}).field("offset"), "0");
}

TEST_F(TopicTest, AnswersAsItsFlushTypeSaysAndNamesIt) {
    stored_topic("fast", "1 1 6 0 0 flush.type=async");
    stored_topic("safe", "1 1 6 0 0 flush.type=sync");
    stored_topic("plain", "1 1 6 0 0");
    go();
    request(client, RequestCode::send_message_v2, 1, send_header("fast", 0), "x");
    const Sent fast = take_one(client);
    EXPECT_EQ(fast.response(), ResponseCode::success);
    EXPECT_EQ(fast.field("DURABILITY"), "async");
    request(client, RequestCode::send_message_v2, 2, send_header("plain", 0), "x");
    EXPECT_THAT(take(client), IsEmpty());
    const std::string unhurried = properties({{"WAIT", "false"}});
    request(client, RequestCode::send_message_v2, 3, send_header("plain", 0, unhurried), "y");
    const Sent at_once = take_one(client);
    EXPECT_EQ(at_once.opaque, 3);
    EXPECT_EQ(at_once.field("DURABILITY"), "async");
    settle_log();
    const Sent plain = take_one(client);
    EXPECT_EQ(plain.opaque, 2);
    EXPECT_EQ(plain.field("DURABILITY"), "sync");
    EXPECT_EQ(send("safe", 0, "x").field("DURABILITY"), "sync");
}

TEST_F(TopicTest, FlushTypeGoesBeforeTheBrokersDefault) {
    options.answer_before_durable = true;
    stored_topic("safe", "1 1 6 0 0 flush.type=sync");
    go();
    request(client, RequestCode::send_message_v2, 1, send_header("safe", 0), "x");
    EXPECT_THAT(take(client), IsEmpty());
    settle_log();
    EXPECT_EQ(take_one(client).field("DURABILITY"), "sync");
    EXPECT_EQ(send("other", 0, "x").field("DURABILITY"), "async");
}

}  // namespace
}  // namespace hufu::broker::testing
