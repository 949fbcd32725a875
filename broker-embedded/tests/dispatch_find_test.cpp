// Finding messages by id, by key and by their place in a queue's index.
#include <gmock/gmock.h>

#include "dispatch/store.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RequestCode;
using testing::ResponseCode;
using testing::Sent;

class FindTest : public testing::DispatchTest {
protected:
    remoting::QueryMessageRequest by_key(std::string_view key, std::int32_t messages_max = 32) const {
        remoting::QueryMessageRequest query;
        query.topic = "orders";
        query.key = key;
        query.messages_max = messages_max;
        query.begin_timestamp = 0;
        query.end_timestamp = clock.now_ms;
        return query;
    }
    Sent query(const remoting::QueryMessageRequest& header) { return ask(RequestCode::query_message, header); }
    std::vector<std::string> found(const remoting::QueryMessageRequest& header) { return bodies(query(header)); }
    Sent view(std::int64_t offset) { return ask(RequestCode::view_message_by_id, remoting::ViewMessageRequest{offset}); }
    /// As a family with a hidden queue stores: the record names its destination.
    Appended hide(std::string_view queue, std::string_view topic, std::string_view body, std::string_view properties) {
        remoting::Record record;
        record.topic = topic;
        record.body = body;
        record.body_crc = 0;
        record.properties = properties;
        const auto bytes = encoded(record);
        std::vector<std::uint64_t> keys;
        keys_of_record(bytes, keys);
        const auto appended = log->append(log->open_queue(queue, 0), 7, bytes, keys).value();
        settle_log();
        return appended;
    }
    static std::vector<std::byte> encoded(const remoting::Record& record) {
        std::vector<std::byte> bytes(remoting::record_size(record));
        remoting::encode_record(bytes, record);
        return bytes;
    }
};

TEST_F(FindTest, FindsByTheIdThatTheSenderGot) {
    start();
    send("orders", 0, "first");
    const Sent sent = send("orders", 3, "second", "KEYS\x01k\x02");
    const auto id = remoting::OffsetMessageId::parse(sent.field("msgId"));
    ASSERT_TRUE(id);
    const Sent viewed = view(id->offset);
    EXPECT_EQ(viewed.response(), ResponseCode::success);
    EXPECT_THAT(bodies(viewed), ElementsAre("second"));
    restart();
    EXPECT_THAT(bodies(view(id->offset)), ElementsAre("second"));
}

TEST_F(FindTest, SaysThatNoMessageIsThereForAnyOtherOffset) {
    start();
    const Sent sent = send("orders", 0, "only");
    const std::int64_t at = remoting::OffsetMessageId::parse(sent.field("msgId"))->offset;
    for (const std::int64_t offset : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(), std::int64_t{0}, at - 1,
                                      at + 1, at + 91, std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::max()}) {
        const Sent answer = view(offset);
        EXPECT_EQ(answer.response(), ResponseCode::system_error);
        EXPECT_EQ(answer.remark, "can not find message by the offset, " + std::to_string(offset));
        EXPECT_THAT(answer.body, IsEmpty());
    }
}

TEST_F(FindTest, FindsByKeyAndUniqueKey) {
    start();
    send("orders", 0, "one", "KEYS\x01red blue\x02UNIQ_KEY\x01U1\x02");
    send("orders", 1, "two", "KEYS\x01 blue  green \x02UNIQ_KEY\x01U2\x02");
    send("other", 1, "three",
         "KEYS\x01"
         "blue\x02UNIQ_KEY\x01U1\x02");
    EXPECT_THAT(found(by_key("blue")), ElementsAre("one", "two"));
    EXPECT_THAT(found(by_key("red")), ElementsAre("one"));
    EXPECT_THAT(found(by_key("green")), ElementsAre("two"));
    EXPECT_THAT(found(by_key("U2")), ElementsAre("two"));
    auto unique = by_key("U1");
    unique.unique_key = true;
    unique.messages_max = 0;  // not looked at
    EXPECT_THAT(found(unique), ElementsAre("one"));
    unique.key = "blue";
    EXPECT_EQ(query(unique).response(), ResponseCode::query_not_found);
    const Sent answer = query(by_key("blue"));
    EXPECT_EQ(answer.field("indexLastUpdatePhyoffset"), std::to_string(log->durable_offset()));
    EXPECT_EQ(answer.field("indexLastUpdateTimestamp"), std::to_string(clock.now_ms));
    restart();
    EXPECT_THAT(found(by_key("blue")), ElementsAre("one", "two"));
}

TEST_F(FindTest, FindsByAKeyThatTheBrokerMinted) {
    start();
    send("orders", 0, "bare");
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, 0));
    const auto record = remoting::decode_record(std::as_bytes(std::span{pulled.body})).value();
    const std::string minted{remoting::PropertiesView{record.properties}.get("UNIQ_KEY").value()};
    auto unique = by_key(minted);
    unique.unique_key = true;
    EXPECT_THAT(found(unique), ElementsAre("bare"));
}

TEST_F(FindTest, GivesTheNewestInTheOrderOfTheLog) {
    start();
    for (int i = 0; i < 100; ++i) send("orders", i % 4, std::to_string(i), "KEYS\x01hot\x02");
    EXPECT_THAT(found(by_key("hot", 3)), ElementsAre("97", "98", "99"));
    EXPECT_EQ(found(by_key("hot", std::numeric_limits<std::int32_t>::max())).size(), 64U);
}

TEST_F(FindTest, KeepsToTheTimeRangeToTheMillisecond) {
    start();
    for (int i = 0; i < 10; ++i) {
        send("orders", 0, std::to_string(i), "KEYS\x01k\x02");
        clock.now_ms += 100;
    }
    auto range = by_key("k");
    range.begin_timestamp = 1'000'300;
    range.end_timestamp = 1'000'499;
    EXPECT_THAT(found(range), ElementsAre("3", "4"));
    range.begin_timestamp = -5;
    range.end_timestamp = 1'000'000;
    EXPECT_THAT(found(range), ElementsAre("0"));
    range.end_timestamp = std::numeric_limits<std::int64_t>::max();
    EXPECT_EQ(found(range).size(), 10U);
}

TEST_F(FindTest, RefusesWhatMakesNoSense) {
    start();
    send("orders", 0, "one", "KEYS\x01k\x02");
    EXPECT_EQ(query(by_key("")).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(query(by_key("k", 0)).remark, "maxNum is 0; ask for 1 to 64");
    EXPECT_EQ(query(by_key("k", -7)).response(), ResponseCode::invalid_parameter);
    auto reversed = by_key("k");
    std::swap(reversed.begin_timestamp, reversed.end_timestamp);
    const Sent answer = query(reversed);
    EXPECT_EQ(answer.response(), ResponseCode::query_not_found);
    EXPECT_EQ(answer.remark, "the time range 1000000 to 0 ends before it begins");
    const Sent nothing = query(by_key("absent"));
    EXPECT_EQ(nothing.response(), ResponseCode::query_not_found);
    EXPECT_THAT(nothing.remark, HasSubstr("can not find message"));
}

TEST_F(FindTest, FindsDeadLettersAndDelayedMessages) {
    start();
    send("%DLQ%workers", 0, "dead", "KEYS\x01k\x02");
    auto dead = by_key("k");
    dead.topic = "%DLQ%workers";
    EXPECT_THAT(found(dead), ElementsAre("dead"));

    const Sent sent = send("orders", 0, "later",
                           "KEYS\x01k\x02UNIQ_KEY\x01U7\x02TIMER_DELAY_SEC\x01"
                           "5\x02");
    const std::int64_t id = remoting::OffsetMessageId::parse(sent.field("msgId"))->offset;
    EXPECT_THAT(found(by_key("k")), ElementsAre("later"));
    EXPECT_THAT(bodies(view(id)), ElementsAre("later"));
    advance(std::chrono::seconds{6});
    settle_log();
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("later"));
    EXPECT_THAT(found(by_key("k")), ElementsAre("later"));
    EXPECT_THAT(bodies(view(id)), ElementsAre("later"));

    // Other hidden queues are nobody's business.
    const Appended hidden = hide("rmq_sys_secret", "orders", "secret", "KEYS\x01s\x02");
    EXPECT_EQ(query(by_key("s")).response(), ResponseCode::query_not_found);
    EXPECT_EQ(view(static_cast<std::int64_t>(hidden.log_offset)).response(), ResponseCode::system_error);
}

TEST_F(FindTest, DamageFoundWhileRunningIsAnAlarmAndNeverServed) {
    start();
    const Sent sent = send("orders", 0, "precious");
    send("orders", 0, "next");
    const std::int64_t id = remoting::OffsetMessageId::parse(sent.field("msgId"))->offset;
    disk.damage(disk.names().front(), static_cast<std::uint64_t>(id) + 90);
    EXPECT_THAT(dispatcher->take_alarms(), IsEmpty());
    const Sent viewed = view(id);
    EXPECT_EQ(viewed.response(), ResponseCode::system_error);
    EXPECT_THAT(viewed.body, IsEmpty());
    EXPECT_THAT(dispatcher->take_alarms(), ElementsAre("a stored message does not match its checksum; it is not served"));
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("next"));
}

TEST_F(FindTest, GivesSeveralLargeMessagesOnlyUpToALimit) {
    log_options.pending_bytes_max = 32U << 20U;
    start();
    for (int i = 0; i < 7; ++i)
        EXPECT_EQ(send("orders", 0, std::to_string(i) + std::string(1U << 20U, '.'), "KEYS\x01k\x02").response(),
                  ResponseCode::success);
    const auto large = found(by_key("k"));
    ASSERT_EQ(large.size(), 4U);
    EXPECT_EQ(large.back().front(), '6');
}

TEST_F(FindTest, ListsWhatTheIndexOfAQueueSays) {
    start();
    for (int i = 0; i < 5; ++i) send("orders", 2, "body", i % 2 == 0 ? "TAGS\x01paid\x02" : "");
    remoting::QueryConsumeQueueRequest header;
    header.topic = "orders";
    header.queue_id = 2;
    header.index = 3;
    header.count = 10;
    header.consumer_group = "workers";
    const Sent answer = ask(RequestCode::query_consume_queue, header);
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_THAT(answer.body,
                HasSubstr("\"maxQueueIndex\":5,\"minQueueIndex\":0,\"queueData\":[{\"eval\":false,\"physicOffset\":"));
    EXPECT_THAT(answer.body, HasSubstr("\"filterData\":\"workers@orders is not online!\""));
    EXPECT_THAT(answer.body, HasSubstr("\"tagsCode\":0},{"));
    EXPECT_THAT(answer.body, HasSubstr("\"tagsCode\":" + std::to_string(remoting::tags_code("paid")) + "}]}"));
    header.index = 5;
    const Sent beyond = ask(RequestCode::query_consume_queue, header);
    EXPECT_EQ(beyond.response(), ResponseCode::success);
    EXPECT_EQ(beyond.remark, "index 5 of queue 2 of topic \"orders\" does not exist; it has 0 to 5 (exclusive)");
    header.index = -1;
    header.count = -1;
    EXPECT_EQ(ask(RequestCode::query_consume_queue, header).response(), ResponseCode::success);
    header.queue_id = 99;
    EXPECT_NE(ask(RequestCode::query_consume_queue, header).response(), ResponseCode::success);
}

}  // namespace
}  // namespace hufu::broker
