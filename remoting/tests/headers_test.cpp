#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include <hufu/remoting/headers.hpp>

namespace hufu::remoting {
namespace {

/// Owns the bytes a decoded command points into.
class Wire {
public:
    explicit Wire(std::string_view frame) {
        const auto room = decoder_.prepare(frame.size());
        std::memcpy(room.data(), frame.data(), frame.size());
        decoder_.commit(frame.size());
        const auto decoded = decoder_.next();
        EXPECT_TRUE(decoded && *decoded);
        EXPECT_TRUE(decode_command(**decoded, command));
    }
    CommandView command;

private:
    FrameDecoder decoder_;
};

template <class Header>
std::unique_ptr<Wire> travel(RequestCode code, const Header& header, SerializeType type) {
    std::string out;
    append_request(out, type, code, 1, header, "body");
    return std::make_unique<Wire>(out);
}

constexpr SerializeType both[] = {SerializeType::json, SerializeType::binary};

TEST(Headers, SendTravels) {
    for (const SerializeType type : both) {
        const SendRequest sent{.producer_group = "g",
                               .topic = "orders",
                               .queue_id = 3,
                               .sys_flag = 1,
                               .born_timestamp = 1'700'000'000'000,
                               .flag = 9,
                               .properties =
                                   "TAGS\x01"
                                   "a\x02",
                               .reconsume_times_max = 5,
                               .batch = true,
                               .broker_name = "b"};
        const auto wire = travel(RequestCode::send_batch_message, sent, type);
        const auto read = SendRequest::decode(wire->command);
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(read->producer_group, "g");
        EXPECT_EQ(read->topic, "orders");
        EXPECT_EQ(read->default_topic, "TBW102");
        EXPECT_EQ(read->default_topic_queues, 4);
        EXPECT_EQ(read->queue_id, 3);
        EXPECT_EQ(read->sys_flag, 1);
        EXPECT_EQ(read->born_timestamp, 1'700'000'000'000);
        EXPECT_EQ(read->flag, 9);
        EXPECT_EQ(read->properties,
                  "TAGS\x01"
                  "a\x02");
        EXPECT_EQ(read->reconsume_times_max, 5);
        EXPECT_TRUE(read->batch);
        EXPECT_EQ(read->broker_name, "b");
        EXPECT_EQ(wire->command.body, "body");
    }
}

TEST(Headers, SendReadsTheLongNamesOfCode10Only) {
    std::string out;
    CommandWriter writer = CommandWriter::request(out, SerializeType::json, RequestCode::send_message, 1);
    for (const auto& [name, value] : {std::pair{"producerGroup", "g"},
                                      {"topic", "t"},
                                      {"defaultTopic", "TBW102"},
                                      {"defaultTopicQueueNums", "4"},
                                      {"queueId", "2"},
                                      {"sysFlag", "0"},
                                      {"bornTimestamp", "5"},
                                      {"flag", "0"},
                                      {"properties", "x"},
                                      {"reconsumeTimes", "0"},
                                      {"batch", "false"}}) {
        writer.field(name, std::string_view{value});
    }
    writer.finish();
    const Wire wire{out};
    const auto read = SendRequest::decode(wire.command);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->queue_id, 2);
    EXPECT_EQ(read->properties, "x");
    EXPECT_FALSE(read->batch);
}

TEST(Headers, ErrorsNameTheField) {
    std::string out;
    CommandWriter writer = CommandWriter::request(out, SerializeType::json, RequestCode::send_message_v2, 1);
    for (const char* name : {"a", "b", "c", "d", "f", "g", "h"}) {
        writer.field(name, std::string_view{"1"});
    }
    writer.finish();
    const Wire wire{out};
    const auto missing = SendRequest::decode(wire.command);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), ErrorCode::protocol);
    EXPECT_EQ(missing.error().text(), R"x(SEND_MESSAGE_V2 (310): field "queueId (e)" is missing)x");

    std::string overflow;
    CommandWriter second = CommandWriter::request(overflow, SerializeType::binary, RequestCode::get_max_offset, 1);
    second.field("topic", "t");
    second.field("queueId", std::int64_t{4'294'967'296});
    second.finish();
    const Wire other{overflow};
    const auto out_of_range = QueueRequest::decode(other.command);
    ASSERT_FALSE(out_of_range);
    EXPECT_EQ(out_of_range.error().text(), R"(GET_MAX_OFFSET (30): field "queueId" is "4294967296", not a number in range)");
}

TEST(Headers, PullTravels) {
    for (const SerializeType type : both) {
        const PullRequest sent{.consumer_group = "g",
                               .topic = "t",
                               .queue_id = 1,
                               .queue_offset = 77,
                               .messages_max = 64,
                               .sys_flag = 7,
                               .commit_offset = 70,
                               .suspend_timeout_ms = 15'000,
                               .subscription = "*",
                               .sub_version = 9,
                               .bytes_max = 262'144};
        const auto wire = travel(RequestCode::pull_message, sent, type);
        const auto read = PullRequest::decode(wire->command);
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(read->consumer_group, "g");
        EXPECT_EQ(read->queue_offset, 77);
        EXPECT_EQ(read->messages_max, 64);
        EXPECT_EQ(read->sys_flag, 7);
        EXPECT_EQ(read->commit_offset, 70);
        EXPECT_EQ(read->suspend_timeout_ms, 15'000);
        EXPECT_EQ(read->subscription, "*");
        EXPECT_EQ(read->sub_version, 9);
        EXPECT_EQ(read->expression_type, "TAG");
        EXPECT_EQ(read->bytes_max, 262'144);
    }
}

TEST(Headers, ResponsesTravel) {
    CommandView request;
    request.opaque = 42;
    for (const SerializeType type : both) {
        request.serialize_type = type;
        std::string out;
        append_response(
            out, request, ResponseCode::success,
            SendResponse{
                .message_id = "7F00000100002A9F0000000000000010", .queue_id = 2, .queue_offset = 11, .transaction_id = {}});
        const Wire wire{out};
        EXPECT_TRUE(wire.command.is_response());
        EXPECT_EQ(wire.command.opaque, 42);
        const auto sent = SendResponse::decode(wire.command);
        ASSERT_TRUE(sent);
        EXPECT_EQ(sent->message_id, "7F00000100002A9F0000000000000010");
        EXPECT_EQ(sent->queue_id, 2);
        EXPECT_EQ(sent->queue_offset, 11);

        std::string pull_out;
        append_response(
            pull_out, request, ResponseCode::pull_not_found,
            PullResponse{.suggest_which_broker_id = 0, .next_begin_offset = 4, .min_offset = 1, .max_offset = 4});
        const Wire pull_wire{pull_out};
        const auto pulled = PullResponse::decode(pull_wire.command);
        ASSERT_TRUE(pulled);
        EXPECT_EQ(pulled->next_begin_offset, 4);
        EXPECT_EQ(pulled->min_offset, 1);
        EXPECT_EQ(pulled->max_offset, 4);
    }
}

TEST(Headers, TheRareOnesTravel) {
    for (const SerializeType type : both) {
        const auto offset = travel(
            RequestCode::query_consumer_offset,
            QueryOffsetRequest{.consumer_group = "g", .topic = "t", .queue_id = 1, .set_zero_if_not_found = false}, type);
        EXPECT_EQ(QueryOffsetRequest::decode(offset->command)->set_zero_if_not_found, false);
        const auto update =
            travel(RequestCode::update_consumer_offset,
                   UpdateOffsetRequest{.consumer_group = "g", .topic = "t", .queue_id = 1, .commit_offset = 5}, type);
        EXPECT_EQ(UpdateOffsetRequest::decode(update->command)->commit_offset, 5);
        const auto search = travel(RequestCode::search_offset_by_timestamp,
                                   SearchOffsetRequest{.topic = "t", .queue_id = 1, .timestamp = 99, .upper = true}, type);
        EXPECT_TRUE(SearchOffsetRequest::decode(search->command)->upper);
        EXPECT_EQ(SearchOffsetRequest::decode(search->command)->timestamp, 99);
        const auto unregister =
            travel(RequestCode::unregister_client,
                   UnregisterRequest{.client_id = "c", .producer_group = {}, .consumer_group = "g"}, type);
        EXPECT_EQ(UnregisterRequest::decode(unregister->command)->client_id, "c");
        EXPECT_EQ(UnregisterRequest::decode(unregister->command)->producer_group, "");
        const auto group = travel(RequestCode::get_consumer_list_by_group, GroupRequest{.consumer_group = "g"}, type);
        EXPECT_EQ(GroupRequest::decode(group->command)->consumer_group, "g");
        const auto route = travel(RequestCode::get_route_by_topic, RouteRequest{.topic = "t"}, type);
        EXPECT_EQ(RouteRequest::decode(route->command)->topic, "t");
        const auto reply =
            travel(RequestCode::heartbeat, HeartbeatResponse{.supports_v2 = false, .subscriptions_changed = true}, type);
        EXPECT_TRUE(HeartbeatResponse::decode(reply->command)->subscriptions_changed);
        const auto position = travel(RequestCode::get_max_offset, OffsetResponse{.offset = 12}, type);
        EXPECT_EQ(OffsetResponse::decode(position->command)->offset, 12);
    }
}

}  // namespace
}  // namespace hufu::remoting
