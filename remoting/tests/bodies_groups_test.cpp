#include <hufu/remoting/bodies_groups.hpp>

#include <gmock/gmock.h>

namespace hufu::remoting {
namespace {

using ::testing::HasSubstr;

TEST(GroupConfig, HasTheDefaultsOfTheProtocol) {
    const auto config = GroupConfig::parse(R"({"groupName":"stock"})").value();
    EXPECT_EQ(config.name, "stock");
    EXPECT_TRUE(config.consume_enabled);
    EXPECT_EQ(config.retry_queues, 1);
    EXPECT_EQ(config.retry_times_max, 16);
    EXPECT_EQ(config.to_json(), R"({"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,)"
                                R"("consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,)"
                                R"("groupName":"stock","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,)"
                                R"("notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,)"
                                R"("whichBrokerWhenConsumeSlowly":1})");
}

TEST(GroupConfig, ReadsWhatItWrites) {
    GroupConfig config;
    config.name = "stock";
    config.consume_enabled = false;
    config.consume_broadcast_enabled = false;
    config.consume_orderly = true;
    config.retry_queues = 3;
    config.retry_times_max = 2;
    config.tell_members = false;
    config.sys_flag = 4;
    config.attributes = {{"a", "b"}};
    config.retry_policy_json = R"({"type":"EXPONENTIAL","exponentialRetryPolicy":{"max":7}})";
    EXPECT_EQ(GroupConfig::parse(config.to_json()).value(), config);
    EXPECT_EQ(GroupConfigList::parse(GroupConfigList{{config, config}}.to_json()).value().groups,
              (std::vector{config, config}));
    EXPECT_FALSE(GroupConfig::parse("[]"));
    EXPECT_FALSE(GroupConfigList::parse("x"));
}

TEST(GroupBodies, CarryTheSecondVersionOfHeartbeats) {
    Heartbeat heartbeat;
    heartbeat.client_id = "c1";
    heartbeat.fingerprint = -77;
    heartbeat.without_subscriptions = true;
    EXPECT_EQ(Heartbeat::parse(heartbeat.to_json()).value(), heartbeat);
}

TEST(GroupBodies, WriteConnections) {
    ConsumerConnections consumers;
    consumers.connections = {{"c1", "10.0.0.2:4711", "JAVA", 479}};
    consumers.subscriptions = {{"orders", "a || b", 7, "TAG"}};
    EXPECT_EQ(consumers.to_json(),
              R"({"connectionSet":[{"clientId":"c1","clientAddr":"10.0.0.2:4711","language":"JAVA","version":479}],)"
              R"("consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY",)"
              R"("messageModel":"CLUSTERING","subscriptionTable":{"orders":{"topic":"orders","subString":"a || b",)"
              R"("tagsSet":["a","b"],"codeSet":[97,98],"subVersion":7,"expressionType":"TAG","classFilterMode":false}}})");
    ProducerTable table;
    table.groups["g"] = {{{"p1", "10.0.0.3:1", "GO", 317}, 42}};
    EXPECT_EQ(table.to_json(), R"({"data":{"g":[{"clientId":"p1","language":"GO","lastUpdateTimestamp":42,)"
                               R"("remoteIP":"10.0.0.3:1","version":317}]}})");
}

TEST(GroupBodies, WriteOffsetsForEveryLanguage) {
    const std::vector<QueueOffset> offsets{{{"orders", "hufu", 1}, 5}};
    EXPECT_EQ(offset_table_json(offsets), R"({"offsetTable":{{"brokerName":"hufu","queueId":1,"topic":"orders"}:5}})");
    EXPECT_EQ(offset_list_json(offsets),
              R"({"offsetTable":[{"topic":"orders","brokerName":"hufu","queueId":1,"offset":5}]})");
}

}  // namespace
}  // namespace hufu::remoting
