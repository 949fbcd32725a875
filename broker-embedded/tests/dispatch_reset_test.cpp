// Moving groups: reset by time and to an offset, cloned positions.
#include <gmock/gmock.h>

#include <hufu/remoting/object_map.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ResetTest : public DispatchTest {
protected:
    /// Ten messages in queue 0, one a second; the group stands at `at`.
    void prepare(std::int64_t at) {
        options.default_queues = 2;
        start();
        first_ms = clock.now_ms;
        for (int i = 0; i < 10; ++i) {
            send("orders", 0, std::to_string(i));
            clock.now_ms += 1000;
        }
        beat(client, "c1", "stock", "orders");
        commit(at);
    }
    Sent commit(std::int64_t offset) {
        return ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{"stock", "orders", 0, offset});
    }
    std::string position(std::string_view group = "stock") {
        return ask(RequestCode::query_consumer_offset, remoting::QueryOffsetRequest{group, "orders", 0, false})
            .field("offset");
    }
    Sent reset(std::int64_t timestamp, std::vector<std::pair<std::string, std::string>> more = {}) {
        RawFields header{{{"group", "stock"}, {"topic", "orders"}, {"timestamp", std::to_string(timestamp)}}};
        header.fields.insert(header.fields.end(), more.begin(), more.end());
        const ConnectionId admin = connect();
        request(admin, RequestCode::invoke_broker_to_reset_offset, 1, header);
        settle_log();
        take(client);  // as a C++ client it is told at once; that has a test of its own
        return take_one(admin);
    }
    static remoting::PullRequest pull(std::int64_t offset) {
        auto header = pull_header("orders", 0, offset);
        header.consumer_group = "stock";
        return header;
    }

    std::int64_t first_ms = 0;
};

TEST_F(ResetTest, MovesAGroupToATimeAndTellsTheNextPull) {
    prepare(8);
    const Sent answer = reset(first_ms + 3000, {{"isForce", "true"}});
    EXPECT_EQ(answer.response(), ResponseCode::success);
    const auto table = remoting::read_queue_map(answer.body, "offsetTable").value();
    ASSERT_EQ(table.size(), 2U);
    EXPECT_EQ(table[0].queue, (remoting::MessageQueue{"orders", "hufu", 0}));
    EXPECT_EQ(table[0].number(), 3);
    commit(9);  // what the consumer had in hand no longer counts
    EXPECT_EQ(position(), "3");
    const Sent moved = ask(RequestCode::pull_message, pull(10));
    EXPECT_EQ(moved.response(), ResponseCode::pull_offset_moved);
    EXPECT_EQ(moved.field("nextBeginOffset"), "3");
    EXPECT_EQ(moved.remark, "OFFSET_RESET");
    EXPECT_EQ(bodies(ask(RequestCode::pull_message, pull(3))).front(), "3");
    commit(5);
    EXPECT_EQ(position(), "5");
}

TEST_F(ResetTest, AConsumerThatBeginsThereIsNotSentAwayFirst) {
    prepare(8);
    reset(first_ms + 3000);
    EXPECT_EQ(position(), "3");
    EXPECT_EQ(bodies(ask(RequestCode::pull_message, pull(3))).front(), "3");
}

TEST_F(ResetTest, AWaitingPullIsTold) {
    prepare(8);
    request(client, RequestCode::pull_message, 31, pull(10));
    EXPECT_THAT(take(client), IsEmpty());
    const ConnectionId admin = connect();
    request(admin, RequestCode::invoke_broker_to_reset_offset, 1,
            RawFields{{{"group", "stock"}, {"topic", "orders"}, {"timestamp", std::to_string(first_ms)}}});
    settle_log();
    const auto told = take(client);
    ASSERT_EQ(told.size(), 2U);
    const Sent& moved = told[1];
    EXPECT_EQ(moved.opaque, 31);
    EXPECT_EQ(moved.response(), ResponseCode::pull_offset_moved);
    EXPECT_EQ(moved.field("nextBeginOffset"), "0");
    EXPECT_EQ(take_one(admin).response(), ResponseCode::success);
}

TEST_F(ResetTest, SurvivesARestartUntilItIsTaken) {
    prepare(8);
    reset(first_ms + 3000);
    restart();
    commit(9);
    EXPECT_EQ(position(), "3");
    EXPECT_EQ(ask(RequestCode::pull_message, pull(10)).field("nextBeginOffset"), "3");
    advance(options.offsets_every);
    settle_log();
    restart();
    commit(9);
    EXPECT_EQ(position(), "9");
}

TEST_F(ResetTest, GoesForwardOnlyWhenForced) {
    prepare(2);
    reset(first_ms + 7000, {{"isForce", "false"}});
    EXPECT_EQ(position(), "2");
    reset(first_ms + 7000, {{"isForce", "true"}});
    EXPECT_EQ(position(), "7");
    reset(-1, {{"isForce", "true"}});
    EXPECT_EQ(position(), "10");
    reset(0, {{"isForce", "false"}});
    EXPECT_EQ(position(), "0");
}

TEST_F(ResetTest, MovesOneQueueToAnOffset) {
    prepare(2);
    const Sent answer = reset(0, {{"queueId", "0"}, {"offset", "6"}});
    EXPECT_EQ(remoting::read_queue_map(answer.body, "offsetTable").value().size(), 1U);
    EXPECT_EQ(position(), "6");
    EXPECT_EQ(reset(0, {{"queueId", "0"}, {"offset", "11"}}).response(), ResponseCode::system_error);
    EXPECT_EQ(reset(0, {{"queueId", "2"}}).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(position(), "6");
}

TEST_F(ResetTest, TellsCppMembersInTheirForm) {
    prepare(2);  // the fixture's clients say that they are C++
    const ConnectionId admin = connect();
    request(admin, RequestCode::invoke_broker_to_reset_offset, 1,
            RawFields{{{"group", "stock"}, {"topic", "orders"}, {"timestamp", "0"}, {"isForce", "true"}}});
    settle_log();
    const Sent told = take_one(client);
    EXPECT_EQ(told.code, static_cast<std::int32_t>(RequestCode::reset_consumer_client_offset));
    EXPECT_EQ(told.flag, remoting::flag_bit::one_way);
    EXPECT_EQ(told.field("group"), "stock");
    EXPECT_THAT(told.body, HasSubstr(R"({"offsetTable":[{"topic":"orders","brokerName":"hufu","queueId":0,"offset":0})"));
}

TEST_F(ResetTest, RefusesUnknownNames) {
    prepare(2);
    const auto code = [this](std::string group, std::string topic, std::string time) {
        return ask(RequestCode::invoke_broker_to_reset_offset,
                   RawFields{{{"group", std::move(group)}, {"topic", std::move(topic)}, {"timestamp", std::move(time)}}})
            .response();
    };
    EXPECT_EQ(code("stock", "none", "0"), ResponseCode::topic_not_exist);
    EXPECT_EQ(code("none", "orders", "0"), ResponseCode::subscription_group_not_exist);
    EXPECT_EQ(code("stock", "orders", "yesterday"), ResponseCode::invalid_parameter);
    EXPECT_EQ(ask(RequestCode::invoke_broker_to_reset_offset, remoting::NoFields{}).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(ResetTest, ClonesWhereAGroupStands) {
    prepare(4);
    const auto clone = [this](std::string from, std::string topic) {
        return ask(
            RequestCode::clone_group_offset,
            RawFields{
                {{"srcGroup", std::move(from)}, {"destGroup", "audit"}, {"topic", std::move(topic)}, {"offline", "true"}}});
    };
    EXPECT_EQ(clone("stock", "other").response(), ResponseCode::success);
    EXPECT_EQ(position("audit"), "(absent)");
    EXPECT_EQ(clone("stock", "orders").response(), ResponseCode::success);
    EXPECT_EQ(position("audit"), "4");
    EXPECT_EQ(clone("nobody", "").response(), ResponseCode::success);
    restart();
    EXPECT_EQ(position("audit"), "4");
    EXPECT_EQ(ask(RequestCode::clone_group_offset, RawFields{{{"srcGroup", "stock"}, {"destGroup", "a b"}}}).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(ResetTest, ListsWhereAllGroupsStand) {
    prepare(4);
    EXPECT_THAT(ask(RequestCode::get_all_consumer_offset, remoting::NoFields{}).body,
                HasSubstr(R"("offsetTable":{"orders@stock":{"0":4}})"));
}

}  // namespace
}  // namespace hufu::broker::testing
