// What administrators are told of traffic, of where groups stand, and of the broker's settings.
#include <gmock/gmock.h>

#include <hufu/remoting/object_map.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Fields {
    std::vector<std::pair<std::string, std::string>> pairs;
    void write(remoting::CommandWriter& writer) const {
        for (const auto& [name, value] : pairs) writer.field(name, value);
    }
};

class StatsTest : public DispatchTest {
protected:
    void SetUp() override {
        options.default_queues = 2;
        start();
    }
    void commit(std::string_view group, std::int64_t offset) {
        ASSERT_EQ(
            ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{group, "orders", 0, offset}).response(),
            ResponseCode::success);
    }
    Sent stats(std::string name, std::string key) {
        return ask(RequestCode::view_broker_stats_data,
                   Fields{{{"statsName", std::move(name)}, {"statsKey", std::move(key)}}});
    }
    Sent configure(std::string_view body) { return ask(RequestCode::update_broker_config, Fields{}, body); }
    std::string config() { return ask(RequestCode::get_broker_config, Fields{}).body; }
};

TEST_F(StatsTest, TellsWhereTheQueuesOfATopicStand) {
    send("orders", 0, "one");
    send("orders", 0, "two");
    const Sent answer = ask(RequestCode::get_topic_stats_info, Fields{{{"topic", "orders"}}});
    const auto entries = remoting::read_queue_map(answer.body, "offsetTable").value();
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].queue, (remoting::MessageQueue{"orders", "hufu", 0}));
    EXPECT_THAT(entries[0].json, HasSubstr(R"("maxOffset":2,"minOffset":0)"));
    EXPECT_THAT(entries[0].json, Not(HasSubstr(R"("lastUpdateTimestamp":0,)")));
    EXPECT_THAT(entries[1].json, HasSubstr(R"("lastUpdateTimestamp":0,"maxOffset":0)"));
    EXPECT_EQ(ask(RequestCode::get_topic_stats_info, Fields{{{"topic", "none"}}}).response(), ResponseCode::topic_not_exist);
}

TEST_F(StatsTest, TellsWhereAGroupStands) {
    for (const char* body : {"one", "two", "three"}) send("orders", 0, body);
    commit("billing", 1);
    const Sent answer = ask(RequestCode::get_consume_stats, Fields{{{"consumerGroup", "billing"}}});
    const auto entries = remoting::read_queue_map(answer.body, "offsetTable").value();
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_THAT(entries[0].json, HasSubstr(R"("brokerOffset":3,"consumerOffset":1,)"));
    const Sent all = ask(RequestCode::get_broker_consume_stats, Fields{{{"isOrder", "false"}}});
    EXPECT_THAT(all.body, HasSubstr(R"({"billing":[{"consumeTps":)"));
    EXPECT_THAT(all.body, HasSubstr(R"("totalDiff":2,)"));
    const Sent nobody = ask(RequestCode::get_consume_stats, Fields{{{"consumerGroup", "nobody"}}});
    EXPECT_THAT(remoting::read_queue_map(nobody.body, "offsetTable").value(), IsEmpty());
}

TEST_F(StatsTest, TellsWhoConsumesATopicAndHowLateItIs) {
    send("orders", 0, "one");
    commit("billing", 0);
    clock.now_ms += 5000;
    send("orders", 0, "two");
    EXPECT_EQ(ask(RequestCode::query_topic_consume_by_who, Fields{{{"topic", "orders"}}}).body,
              R"({"groupList":["billing"]})");
    EXPECT_EQ(ask(RequestCode::query_topic_consume_by_who, Fields{{{"topic", "none"}}}).body, R"({"groupList":[]})");
    clock.now_ms += 1000;
    const Sent span = ask(RequestCode::query_consume_time_span, Fields{{{"topic", "orders"}, {"group", "billing"}}});
    EXPECT_THAT(span.body, HasSubstr(R"("delayTime":6000)"));
    commit("billing", 1);
    EXPECT_THAT(ask(RequestCode::query_consume_time_span, Fields{{{"topic", "orders"}, {"group", "billing"}}}).body,
                HasSubstr(R"("delayTime":1000)"));
}

TEST_F(StatsTest, CountsWhatCameInAndWentOut) {
    EXPECT_EQ(stats("TOPIC_PUT_NUMS", "orders").response(), ResponseCode::system_error);
    for (int i = 0; i < 6; ++i) send("orders", 0, "x");
    auto pull = pull_header("orders", 0, 0);
    pull.consumer_group = "billing";
    ask(RequestCode::pull_message, pull);
    advance(std::chrono::seconds{2});
    EXPECT_THAT(stats("TOPIC_PUT_NUMS", "orders").body, HasSubstr(R"("statsMinute":{"avgpt":1.00,"sum":6,"tps":3.00})"));
    EXPECT_THAT(stats("GROUP_GET_NUMS", "orders@billing").body, HasSubstr(R"("statsDay":{"avgpt":6.00,"sum":6,)"));
    EXPECT_THAT(stats("BROKER_PUT_NUMS", "DefaultCluster").body, HasSubstr(R"("sum":6,)"));
    EXPECT_THAT(stats("TOPIC_PUT_SIZE", "orders").body, Not(HasSubstr(R"("sum":6,)")));
    EXPECT_THAT(stats("NO_SUCH_NUMS", "orders").remark, HasSubstr("NO_SUCH_NUMS"));
    const Sent info = ask(RequestCode::get_broker_runtime_info, Fields{});
    EXPECT_THAT(info.body, HasSubstr(R"("putTps":"3.00 3.00 3.00")"));
    EXPECT_THAT(info.body, HasSubstr(R"("msgPutTotalTodayNow":"6")"));
    EXPECT_THAT(info.body, HasSubstr(R"("msgGetTotalTodayNow":"6")"));
}

TEST_F(StatsTest, RuntimeInfoHasWhatToolsRead) {
    const Sent info = ask(RequestCode::get_broker_runtime_info, Fields{});
    for (const char* key : {"brokerActive",
                            "brokerVersionDesc",
                            "putTps",
                            "getTransferredTps",
                            "getTransferedTps",
                            "sendThreadPoolQueueSize",
                            "pullThreadPoolQueueSize",
                            "ackThreadPoolQueueSize",
                            "sendThreadPoolQueueHeadWaitTimeMills",
                            "pullThreadPoolQueueHeadWaitTimeMills",
                            "ackThreadPoolQueueHeadWaitTimeMills",
                            "pageCacheLockTimeMills",
                            "earliestMessageTimeStamp",
                            "commitLogDiskRatio",
                            "timerReadBehind",
                            "timerOffsetBehind",
                            "timerCongestNum",
                            "timerEnqueueTps",
                            "timerDequeueTps",
                            "msgPutTotalYesterdayMorning",
                            "msgPutTotalTodayMorning",
                            "msgGetTotalYesterdayMorning",
                            "msgGetTotalTodayMorning"})
        EXPECT_THAT(info.body, HasSubstr("\"" + std::string{key} + "\":\"")) << key;
}

TEST_F(StatsTest, SettingsChangeAndSurviveARestart) {
    EXPECT_THAT(config(), HasSubstr("autoCreateTopicEnable=true\n"));
    EXPECT_EQ(configure("autoCreateTopicEnable=false\ndefaultTopicQueueNums=3").response(), ResponseCode::success);
    EXPECT_THAT(config(), HasSubstr("autoCreateTopicEnable=false\n"));
    EXPECT_EQ(send("fresh", 0, "x").response(), ResponseCode::topic_not_exist);
    restart();
    EXPECT_THAT(config(), HasSubstr("defaultTopicQueueNums=3\n"));
    EXPECT_EQ(send("fresh", 0, "x").response(), ResponseCode::topic_not_exist);
    const auto alarms = dispatcher->take_alarms();
    ASSERT_FALSE(alarms.empty());
    EXPECT_THAT(alarms.front(), HasSubstr("goes before"));
}

TEST_F(StatsTest, RefusesSettingsItDoesNotKnowOrCannotChange) {
    const Sent unknown = configure("autoCreateTopicEnable=false\nsendThreadPoolNums=4");
    EXPECT_EQ(unknown.response(), ResponseCode::invalid_parameter);
    EXPECT_THAT(unknown.remark, HasSubstr("\"sendThreadPoolNums\" is unknown to this broker; these can: "));
    EXPECT_THAT(config(), HasSubstr("autoCreateTopicEnable=true\n")) << "all or nothing";
    EXPECT_THAT(configure("brokerName=other").remark, HasSubstr("cannot be changed"));
    EXPECT_THAT(configure("flushDiskType=NONE").remark, HasSubstr("SYNC_FLUSH or ASYNC_FLUSH"));
    EXPECT_THAT(configure("defaultTopicQueueNums=0").remark, HasSubstr("from 1 to 1024"));
    EXPECT_THAT(configure("brokerPermission").remark, HasSubstr("has no value"));
}

TEST_F(StatsTest, ABrokerWithoutWritePermissionTakesNoMessages) {
    send("orders", 0, "x");
    EXPECT_EQ(configure("brokerPermission=4").response(), ResponseCode::success);
    EXPECT_EQ(send("orders", 0, "x").response(), ResponseCode::no_permission);
    EXPECT_EQ(configure("brokerPermission=6").response(), ResponseCode::success);
    EXPECT_EQ(send("orders", 0, "x").response(), ResponseCode::success);
}

TEST_F(StatsTest, MakesTheDefaultDurabilityAsynchronousAndBack) {
    configure("flushDiskType=ASYNC_FLUSH");
    EXPECT_EQ(send("orders", 0, "x").field("DURABILITY"), "async");
    configure("flushDiskType=SYNC_FLUSH");
    EXPECT_EQ(send("orders", 0, "x").field("DURABILITY"), "sync");
}

}  // namespace
}  // namespace hufu::broker::testing
