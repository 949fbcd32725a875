// Positions, members, locks and what survives a restart; and hostile frames.
#include <gmock/gmock.h>

#include <hufu/remoting/bytes.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class DispatchGroupsTest : public DispatchTest {
protected:
    Sent commit(std::string_view group, std::int32_t queue, std::int64_t offset) {
        return ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{group, "orders", queue, offset});
    }
    Sent position(std::string_view group, std::int32_t queue) {
        return ask(RequestCode::query_consumer_offset, remoting::QueryOffsetRequest{group, "orders", queue, false});
    }
    Sent lock(ConnectionId from, RequestCode code, std::string client_id, std::vector<std::int32_t> queues) {
        remoting::LockRequest wanted{"stock", std::move(client_id), {}};
        for (const auto queue : queues) wanted.queues.push_back({"orders", "hufu", queue});
        request(from, code, 3, remoting::NoFields{}, wanted.to_json());
        return take_one(from);
    }
    static std::vector<std::int32_t> locked(const Sent& answer) {
        std::vector<std::int32_t> queues;
        for (const auto& queue : remoting::LockResponse::parse(answer.body).value().locked) queues.push_back(queue.queue_id);
        return queues;
    }
};

TEST_F(DispatchGroupsTest, KnowsWhereQueuesBeginAndEnd) {
    start();
    send("orders", 0, "a");
    clock.now_ms += 1000;
    send("orders", 0, "b");
    EXPECT_EQ(ask(RequestCode::get_min_offset, remoting::QueueRequest{"orders", 0}).field("offset"), "0");
    EXPECT_EQ(ask(RequestCode::get_max_offset, remoting::QueueRequest{"orders", 0}).field("offset"), "2");
    EXPECT_EQ(ask(RequestCode::search_offset_by_timestamp, remoting::SearchOffsetRequest{"orders", 0, clock.now_ms})
                  .field("offset"),
              "1");
    EXPECT_EQ(ask(RequestCode::search_offset_by_timestamp, remoting::SearchOffsetRequest{"orders", 0, clock.now_ms + 1})
                  .field("offset"),
              "2");
    EXPECT_EQ(
        ask(RequestCode::search_offset_by_timestamp, remoting::SearchOffsetRequest{"orders", 0, INT64_MIN}).field("offset"),
        "0");
    EXPECT_EQ(ask(RequestCode::get_max_offset, remoting::QueueRequest{"none", 0}).response(), ResponseCode::topic_not_exist);
    EXPECT_EQ(ask(RequestCode::get_max_offset, remoting::QueueRequest{"orders", -1}).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(DispatchGroupsTest, RemembersPositionsAndRefusesImpossibleOnes) {
    start();
    send("orders", 0, "a");
    EXPECT_EQ(position("stock", 0).response(), ResponseCode::query_not_found);
    EXPECT_EQ(commit("stock", 0, 1).response(), ResponseCode::success);
    EXPECT_EQ(position("stock", 0).field("offset"), "1");
    EXPECT_EQ(commit("stock", 0, 2).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(commit("stock", 0, -1).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(position("stock", 0).field("offset"), "1");
    EXPECT_EQ(position("other", 0).response(), ResponseCode::query_not_found);
}

TEST_F(DispatchGroupsTest, StoresPositionsInBatchesAndFindsThemAfterARestart) {
    start();
    for (int i = 0; i < 10; ++i) send("orders", 0, "x");
    commit("stock", 0, 0);  // makes the group
    advance(options.offsets_every);
    settle_log();
    const auto syncs = disk.calls(simulation::DiskCall::sync);
    for (int i = 1; i <= 10; ++i) commit("stock", 0, i);
    EXPECT_EQ(disk.calls(simulation::DiskCall::sync), syncs);
    ASSERT_TRUE(dispatcher->next_tick());
    advance(options.offsets_every);
    settle_log();
    EXPECT_EQ(disk.calls(simulation::DiskCall::sync), syncs + 1);
    restart();
    EXPECT_EQ(position("stock", 0).field("offset"), "10");
}

TEST_F(DispatchGroupsTest, StoresPositionsAtACleanStop) {
    start();
    send("orders", 0, "x");
    commit("stock", 0, 1);
    EXPECT_TRUE(dispatcher->store_offsets());
    settle_log();
    restart();
    EXPECT_EQ(position("stock", 0).field("offset"), "1");
}

TEST_F(DispatchGroupsTest, CutsAPositionBeyondTheRecoveredEndAndRaisesAnAlarm) {
    start();
    send("orders", 0, "x");
    ASSERT_TRUE(log->put_state("offset/stock/orders/0", "5"));
    settle_log();
    restart();
    EXPECT_EQ(position("stock", 0).field("offset"), "1");
    const auto alarms = dispatcher->take_alarms();
    ASSERT_EQ(alarms.size(), 1U);
    EXPECT_THAT(alarms[0], HasSubstr("beyond the recovered end 1"));
}

TEST_F(DispatchGroupsTest, FindsTopicsAndMessagesAfterARestart) {
    options.default_queues = 3;
    start();
    send("orders", 2, "kept");
    options.default_queues = 8;
    restart();
    const auto route =
        remoting::TopicRoute::parse(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"orders"}).body).value();
    EXPECT_EQ(route.queues.at(0).read_queues, 3);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 2, 0))), ElementsAre("kept"));
    EXPECT_EQ(send("orders", 2, "next").field("queueOffset"), "1");
}

TEST_F(DispatchGroupsTest, CommitsThePositionThatAPullCarries) {
    start();
    send("orders", 0, "a");
    send("orders", 0, "b");
    auto header = pull_header("orders", 0, 2);
    header.sys_flag |= remoting::pull_flag::commit_offset;
    header.commit_offset = 1;
    request(client, RequestCode::pull_message, 1, header);
    EXPECT_EQ(position("consumers", 0).field("offset"), "1");
}

TEST_F(DispatchGroupsTest, MakesTheRetryTopicAtTheFirstHeartbeat) {
    start();
    const Sent answer = beat(client, "c1", "stock", "orders");
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(answer.field("IS_SUPPORT_HEART_BEAT_V2"), "true");
    EXPECT_EQ(answer.field("IS_SUB_CHANGE"), "true");
    const Sent route = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"%RETRY%stock"});
    EXPECT_EQ(remoting::TopicRoute::parse(route.body).value().queues.at(0).read_queues, 1);
}

TEST_F(DispatchGroupsTest, TellsMembersWhenTheGroupChanges) {
    start();
    beat(client, "c1", "stock", "orders");
    const ConnectionId second = connect();
    beat(second, "c2", "stock", "orders");
    const Sent told = take_one(client);
    EXPECT_EQ(told.code, static_cast<std::int32_t>(RequestCode::notify_consumer_ids_changed));
    EXPECT_EQ(told.flag, remoting::flag_bit::one_way);
    EXPECT_EQ(told.field("consumerGroup"), "stock");
    const Sent list = ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"});
    EXPECT_THAT(remoting::ConsumerList::parse(list.body).value().client_ids, UnorderedElementsAre("c1", "c2"));

    beat(second, "c2", "stock", "orders");
    EXPECT_THAT(take(client), IsEmpty());  // nothing changed
    dispatcher->disconnected(second, now());
    EXPECT_EQ(take_one(client).code, static_cast<std::int32_t>(RequestCode::notify_consumer_ids_changed));
}

TEST_F(DispatchGroupsTest, ForgetsMembersThatLeaveOrFallSilent) {
    start();
    beat(client, "c1", "stock", "orders");
    EXPECT_EQ(ask(RequestCode::unregister_client, remoting::UnregisterRequest{"c1", "", "stock"}).response(),
              ResponseCode::success);
    EXPECT_EQ(ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"}).response(),
              ResponseCode::system_error);
    beat(client, "c1", "stock", "orders");
    advance(130s);
    EXPECT_EQ(ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"}).response(),
              ResponseCode::system_error);
}

TEST_F(DispatchGroupsTest, LocksAQueueForOneMemberUntilItsChannelCloses) {
    start();
    send("orders", 0, "x");
    const ConnectionId second = connect();
    EXPECT_THAT(locked(lock(client, RequestCode::lock_batch_queues, "c1", {0, 1})), ElementsAre(0, 1));
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {0, 1, 2})), ElementsAre(2));
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {99})), IsEmpty());
    lock(second, RequestCode::unlock_batch_queues, "c2", {0});  // not its own: nothing happens
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {0})), IsEmpty());
    lock(client, RequestCode::unlock_batch_queues, "c1", {1});
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {1})), ElementsAre(1));
    dispatcher->disconnected(client, now());
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {0})), ElementsAre(0));
}

TEST_F(DispatchGroupsTest, LetsAnUnrefreshedLockGoAfterSixtySeconds) {
    start();
    send("orders", 0, "x");
    const ConnectionId second = connect();
    lock(client, RequestCode::lock_batch_queues, "c1", {0});
    clock.now_ms += 60'000;
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {0})), IsEmpty());
    clock.now_ms += 1;
    EXPECT_THAT(locked(lock(second, RequestCode::lock_batch_queues, "c2", {0})), ElementsAre(0));
}

TEST_F(DispatchGroupsTest, AnswersRequestsThatLackTheirFields) {
    start();
    for (const auto& code : {10, 11, 14, 15, 29, 30, 31, 34, 35, 38, 41, 42, 105, 310, 320}) {
        const Sent answer = ask(static_cast<RequestCode>(code), remoting::NoFields{}, "{");
        EXPECT_NE(answer.response(), ResponseCode::success) << code;
        EXPECT_FALSE(answer.remark.empty()) << code;
    }
}

TEST_F(DispatchGroupsTest, RefusesFramesThatAreNoCommands) {
    start();
    const auto frame = [](std::string header) {
        std::string bytes;
        remoting::append(bytes, static_cast<std::int32_t>(4 + header.size()));
        remoting::append(bytes, static_cast<std::int32_t>(header.size()));
        return bytes + header;
    };
    EXPECT_FALSE(deliver(client, frame("")));
    EXPECT_FALSE(deliver(client, frame("{")));
    EXPECT_FALSE(deliver(client, frame("not json")));
    EXPECT_FALSE(deliver(client, frame(R"({"code":"x","opaque":1})")));
    EXPECT_FALSE(deliver(client, frame(R"({"code":310,"extFields":{"a":)" + std::string(1000, '[') + "}}")));
    EXPECT_EQ(send("orders", 0, "still here").response(), ResponseCode::success);
}

TEST_F(DispatchGroupsTest, SurvivesRandomBytesInPlaceOfHeadersAndBodies) {
    start();
    std::string good;
    remoting::append_request(good, remoting::SerializeType::json, RequestCode::send_message_v2, 1, send_header("orders", 0),
                             "body");
    std::string batch_header;
    auto header = send_header("orders", 0);
    header.batch = true;
    remoting::append_request(batch_header, remoting::SerializeType::binary, RequestCode::send_batch_message, 1, header,
                             std::string_view{"\0\0\0\x20junk", 8});
    for (int round = 0; round < 3000; ++round) {
        std::string bytes = round % 2 == 0 ? good : batch_header;
        for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips)
            bytes[8 + random.below(bytes.size() - 8)] = static_cast<char>(random.below(256));
        static_cast<void>(deliver(client, bytes));
        if (round % 100 == 0) {
            settle_log();
            take(client);
        }
    }
    settle_log();
    take(client);
    EXPECT_EQ(send("orders", 0, "still here").response(), ResponseCode::success);
}

}  // namespace
}  // namespace hufu::broker::testing
