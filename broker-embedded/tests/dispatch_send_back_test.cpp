// Messages that consumers could not handle: 36, the ladder, dead letters.
#include <gmock/gmock.h>

#include <hufu/remoting/bodies_groups.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SendBackTest : public DispatchTest {
protected:
    /// Where the record of a send stands in the log.
    static std::int64_t place(const Sent& sent) {
        return remoting::OffsetMessageId::parse(sent.field("msgId")).value().offset;
    }

    Sent send_back(std::int64_t offset, std::int32_t level = 0, std::vector<std::pair<std::string, std::string>> more = {},
                   std::string group = "stock") {
        RawFields header{{{"offset", std::to_string(offset)},
                          {"group", std::move(group)},
                          {"delayLevel", std::to_string(level)},
                          {"originTopic", "orders"}}};
        header.fields.insert(header.fields.end(), more.begin(), more.end());
        return ask(RequestCode::consumer_send_message_back, header);
    }
    /// The one record in a queue from `offset` on; its bytes stay in `pulled`.
    remoting::Record only(std::string_view topic, std::int64_t offset = 0) {
        pulled = ask(RequestCode::pull_message, waitless(topic, offset));
        EXPECT_EQ(pulled.response(), ResponseCode::success) << pulled.remark;
        return remoting::decode_record(std::as_bytes(std::span{pulled.body})).value();
    }
    bool nothing_in(std::string_view topic, std::int64_t offset = 0) {
        return ask(RequestCode::pull_message, waitless(topic, offset)).response() != ResponseCode::success;
    }
    static remoting::PullRequest waitless(std::string_view topic, std::int64_t offset) {
        auto header = pull_header(topic, 0, offset);
        header.sys_flag = remoting::pull_flag::subscription;
        return header;
    }
    static std::string property(const remoting::Record& record, std::string_view name) {
        return std::string{remoting::PropertiesView{record.properties}.get(name).value_or("(absent)")};
    }
    /// Time passes, and what became due is durable.
    void pass(std::chrono::milliseconds time) {
        advance(time);
        settle_log();
        advance(0ms);
        settle_log();
    }

    Sent pulled;
};

TEST_F(SendBackTest, ComesAgainAfterTheFirstStepWithItsOrigin) {
    start();
    std::string properties;
    remoting::append_property(properties, "TAGS", "a");
    remoting::append_property(properties, "UNIQ_KEY", "0123456789ABCDEF0123456789ABCDEF");
    remoting::append_property(properties, "mine", "kept");
    const Sent sent = send("orders", 0, "body", properties);
    EXPECT_EQ(send_back(place(sent)).response(), ResponseCode::success);
    pass(9'999ms);
    EXPECT_TRUE(nothing_in("%RETRY%stock"));
    pass(1ms);
    const remoting::Record again = only("%RETRY%stock");
    EXPECT_EQ(again.body, "body");
    EXPECT_EQ(again.topic, "%RETRY%stock");
    EXPECT_EQ(again.reconsume_times, 1);
    EXPECT_EQ(again.born_timestamp, 42);
    EXPECT_EQ(property(again, "RETRY_TOPIC"), "orders");
    EXPECT_EQ(property(again, "ORIGIN_MESSAGE_ID"), sent.field("msgId"));
    EXPECT_EQ(property(again, "TAGS"), "a");
    EXPECT_EQ(property(again, "UNIQ_KEY"), "0123456789ABCDEF0123456789ABCDEF");
    EXPECT_EQ(property(again, "mine"), "kept");
    EXPECT_EQ(property(again, "DELAY"), "3");
}

TEST_F(SendBackTest, ClimbsTheLadderAndEndsAmongTheDeadLetters) {
    start();
    const Sent first = send("orders", 0, "poison");
    std::int64_t at = place(first);
    const std::chrono::milliseconds ladder[] = {10s,  30s,  60s,  120s, 180s,  240s,  300s,  360s,
                                                420s, 480s, 540s, 600s, 1200s, 1800s, 3600s, 7200s};
    std::int64_t offset = 0;
    for (const auto step : ladder) {
        ASSERT_EQ(send_back(at).response(), ResponseCode::success);
        pass(step - 1ms);
        ASSERT_TRUE(nothing_in("%RETRY%stock", offset));
        pass(1ms);
        const remoting::Record again = only("%RETRY%stock", offset++);
        EXPECT_EQ(again.reconsume_times, offset);
        EXPECT_EQ(property(again, "ORIGIN_MESSAGE_ID"), first.field("msgId"));
        at = again.physical_offset;
    }
    EXPECT_TRUE(nothing_in("%DLQ%stock"));
    ASSERT_EQ(send_back(at).response(), ResponseCode::success);
    const remoting::Record dead = only("%DLQ%stock");
    EXPECT_EQ(dead.body, "poison");
    EXPECT_EQ(dead.reconsume_times, 17);
    EXPECT_EQ(property(dead, "DLQ_ORIGIN_TOPIC"), "orders");
    EXPECT_EQ(property(dead, "RETRY_TOPIC"), "orders");
    EXPECT_EQ(property(dead, "DELAY"), "(absent)");
    EXPECT_EQ(property(dead, "REAL_TOPIC"), "(absent)");
    EXPECT_EQ(property(dead, "DLQ_ORIGIN_MESSAGE_ID"), property(dead, "UNIQ_KEY"));
    const auto route =
        remoting::TopicRoute::parse(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"%DLQ%stock"}).body);
    EXPECT_EQ(route.value().queues.at(0).perm, 6);
}

TEST_F(SendBackTest, GoesToTheDeadLettersWhenTheConsumerSaysSo) {
    start();
    EXPECT_EQ(send_back(place(send("orders", 0, "x")), -1).response(), ResponseCode::success);
    EXPECT_EQ(only("%DLQ%stock").reconsume_times, 1);
}

TEST_F(SendBackTest, TheConsumerChoosesItsStepAndItsAttempts) {
    start();
    const std::int64_t at = place(send("orders", 0, "x"));
    EXPECT_EQ(send_back(at, 1).response(), ResponseCode::success);
    pass(1s);
    EXPECT_EQ(property(only("%RETRY%stock"), "DELAY"), "1");
    EXPECT_EQ(send_back(at, 0, {{"maxReconsumeTimes", "0"}}).response(), ResponseCode::success);
    EXPECT_EQ(only("%DLQ%stock").body, "x");
}

TEST_F(SendBackTest, SurvivesARestartWhileItWaits) {
    start();
    EXPECT_EQ(send_back(place(send("orders", 0, "x"))).response(), ResponseCode::success);
    restart();
    pass(10s);
    EXPECT_EQ(only("%RETRY%stock").body, "x");
}

TEST_F(SendBackTest, IsAnsweredWhenItIsDurable) {
    start();
    const std::int64_t at = place(send("orders", 0, "x"));
    send_back(at, -1);
    request(client, RequestCode::consumer_send_message_back, 9,
            RawFields{{{"offset", std::to_string(at)}, {"group", "stock"}, {"delayLevel", "-1"}}});
    EXPECT_THAT(take(client), IsEmpty());
    settle_log();
    EXPECT_EQ(take_one(client).response(), ResponseCode::success);
}

TEST_F(SendBackTest, AGroupMayWantNoRetries) {
    start();
    remoting::GroupConfig config;
    config.name = "stock";
    config.retry_queues = 0;
    ask(RequestCode::update_and_create_subscription_group, remoting::NoFields{}, config.to_json());
    EXPECT_EQ(send_back(place(send("orders", 0, "x"))).response(), ResponseCode::success);
    pass(3h);
    EXPECT_TRUE(nothing_in("%RETRY%stock"));
}

TEST_F(SendBackTest, RefusesWhatItCannotFind) {
    start();
    const std::int64_t at = place(send("orders", 0, "x"));
    for (const std::int64_t offset : {at + 1, std::int64_t{-1}, std::int64_t{0}, INT64_MAX, INT64_MIN}) {
        const Sent refused = send_back(offset);
        EXPECT_EQ(refused.response(), ResponseCode::system_error) << offset;
        EXPECT_THAT(refused.remark, HasSubstr("look message by offset failed"));
    }
    EXPECT_EQ(send_back(at, 0, {}, "no group").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(send_back(at, 0, {{"maxReconsumeTimes", "many"}}).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(ask(RequestCode::consumer_send_message_back, RawFields{{{"offset", "x"}}}).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(SendBackTest, DoesNotHandOutAMessageThatWaitsForItsTime) {
    start();
    std::string properties;
    remoting::append_property(properties, "DELAY", "5");
    const Sent delayed = send("orders", 0, "secret until then", properties);
    EXPECT_EQ(send_back(place(delayed), -1).response(), ResponseCode::system_error);
}

TEST_F(SendBackTest, RefusesUnknownGroupsWhenTheyAreNotMadeByThemselves) {
    options.auto_create_groups = false;
    start();
    EXPECT_EQ(send_back(place(send("orders", 0, "x"))).response(), ResponseCode::subscription_group_not_exist);
}

TEST_F(SendBackTest, AnOrderlyGroupsRetryGoesToTheDeadLettersWhileAQueueIsLocked) {
    start();
    send("orders", 0, "x");
    remoting::LockRequest lock{"stock", "c1", {{"orders", "hufu", 0}}};
    ask(RequestCode::lock_batch_queues, remoting::NoFields{}, lock.to_json());
    auto header = send_header("%RETRY%stock", 0,
                              "DELAY\x01"
                              "3\x02");
    header.reconsume_times = 1;
    EXPECT_EQ(ask(RequestCode::send_message_v2, header, "gave up").response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, waitless("%DLQ%stock", 0))), ElementsAre("gave up"));
    ask(RequestCode::unlock_batch_queues, remoting::NoFields{}, lock.to_json());
    EXPECT_EQ(ask(RequestCode::send_message_v2, header, "later").response(), ResponseCode::success);
    pass(10s);
    EXPECT_EQ(only("%RETRY%stock").body, "later");
}

}  // namespace
}  // namespace hufu::broker::testing
