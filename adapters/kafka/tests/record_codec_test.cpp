#include "record_codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::kafka {
namespace {

using testing::HasSubstr;

const MessageId id = MessageId::parse("0193f2a4-7c00-7000-8000-000000000001").value();

Message full_message() {
    Message message{.id = id, .topic = "orders", .tag = "paid", .keys = {"a", "b"}, .ordering_key = "42", .body = "{}"};
    message.headers.set("traceparent", "00-ab");
    message.headers.set("empty", "");
    return message;
}

/// As it would come back.
Message round_trip(const Message& message) {
    const auto headers = headers_of(message, message.id);
    const auto topic = kafka_topic(message.topic).value();
    RecordView record{.topic = topic, .partition = 1, .offset = 7, .timestamp_ms = 1'700'000'000'000};
    if (!message.ordering_key.empty()) record.key = message.ordering_key;
    record.value = message.body;
    for (const auto& [name, value] : headers) record.headers.emplace_back(name, value);
    return to_message(record);
}

TEST(RecordCodec, MessagesComeBackAsTheyWere) {
    EXPECT_EQ(round_trip(full_message()), full_message());
    const Message bare{.id = id, .topic = "t"};
    EXPECT_EQ(round_trip(bare), bare);
}

TEST(RecordCodec, WritesTheDocumentedHeaders) {
    const auto headers = headers_of(full_message(), id);
    ASSERT_EQ(headers.size(), 5U);
    EXPECT_EQ(headers[0], (std::pair<std::string_view, std::string>{"hufu-id", "0193f2a4-7c00-7000-8000-000000000001"}));
    EXPECT_EQ(headers[1], (std::pair<std::string_view, std::string>{"hufu-tag", "paid"}));
    EXPECT_EQ(headers[2], (std::pair<std::string_view, std::string>{"hufu-keys", "a b"}));
}

TEST(RecordCodec, DeadLetterTopicsHaveANameInKafka) {
    EXPECT_EQ(kafka_topic("%DLQ%stock").value(), ".DLQ.stock");
    EXPECT_EQ(hufu_topic(".DLQ.stock"), "%DLQ%stock");
    for (const std::string_view topic : {"", "%", "%%", "a|b", "a b"}) {
        const auto named = kafka_topic(topic);
        ASSERT_FALSE(named) << topic;
        EXPECT_EQ(named.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(named.error().text(), HasSubstr("\"" + std::string{topic} + "\""));
    }
    EXPECT_FALSE(kafka_topic(std::string(250, 'a')));
    EXPECT_TRUE(kafka_topic(std::string(249, 'a')));
}

TEST(RecordCodec, ForeignRecordsGetAnIdThatStaysTheSame) {
    const RecordView record{
        .topic = "clicks", .partition = 3, .offset = 12, .timestamp_ms = 1'700'000'000'123, .value = "x"};
    const Message message = to_message(record);
    EXPECT_EQ(message.id, to_message(record).id);
    EXPECT_EQ(message.id.to_string()[14], '8') << "version";
    EXPECT_EQ(message.id.minted_at(), SystemTime{std::chrono::milliseconds{1'700'000'000'123}});
    EXPECT_EQ(message.body, "x");
    EXPECT_TRUE(message.ordering_key.empty());
    RecordView other = record;
    other.offset = 13;
    EXPECT_NE(to_message(other).id, message.id);
    other = record;
    other.partition = 4;
    EXPECT_NE(to_message(other).id, message.id);
    other = record;
    other.topic = "clicks2";
    EXPECT_NE(to_message(other).id, message.id);
    other = record;
    other.timestamp_ms += 1;
    EXPECT_NE(to_message(other).id, message.id) << "the topic was made anew";
}

TEST(RecordCodec, AnIdThatIsNoneIsReplacedNotTrusted) {
    for (const std::string_view text : {"", "17", "00000000-0000-0000-0000-000000000000"}) {
        RecordView record{.topic = "t", .offset = 1, .value = ""};
        record.headers.emplace_back("hufu-id", text);
        EXPECT_EQ(to_message(record).id, id_of_place(record)) << text;
        EXPECT_FALSE(to_message(record).id.is_nil());
    }
}

TEST(RecordCodec, TombstonesDifferFromEmptyBodies) {
    const Message tombstone = to_message({.topic = "t", .key = "k"});
    EXPECT_EQ(tombstone.headers.get("hufu-no-value"), "true");
    EXPECT_EQ(tombstone.body, "");
    EXPECT_FALSE(to_message({.topic = "t", .key = "k", .value = ""}).headers.get("hufu-no-value"));
}

TEST(RecordCodec, OfHeadersWithOneNameTheLastCounts) {
    RecordView record{.topic = "t", .value = ""};
    record.headers = {{"a", "1"}, {"", "nameless"}, {"a", "2"}, {"hufu-keys", "  x   y "}};
    const Message message = to_message(record);
    EXPECT_EQ(message.headers.get("a"), "2");
    EXPECT_EQ(message.headers.size(), 1U);
    EXPECT_EQ(message.keys, (std::vector<std::string>{"x", "y"}));
}

TEST(RecordCodec, RefusesWhatKafkaWillNotTake) {
    EXPECT_TRUE(check_limits(full_message(), 1'000));
    Message large = full_message();
    large.body.assign(1'000, 'x');
    EXPECT_EQ(check_limits(large, 1'000).error().code(), ErrorCode::too_large);
    Message own = full_message();
    own.headers.set("hufu-id", "x");
    EXPECT_THAT(check_limits(own, 1'000).error().text(), HasSubstr("\"hufu-id\""));
    Message dead = full_message();
    dead.headers.set("hufu-dead-reason", "Hufu's own, but no field of the message");
    EXPECT_TRUE(check_limits(dead, 1'000));
}

}  // namespace
}  // namespace hufu::kafka
