#include <gtest/gtest.h>

#include <string>

#include <hufu/remoting/bodies.hpp>

namespace hufu::remoting {
namespace {

TEST(Bodies, ReadsARouteOfARealNameServerWithUnquotedKeys) {
    const auto route = TopicRoute::parse(
        R"({"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.3:10911"},"brokerName":"broker-a","cluster":"DefaultCluster"}],)"
        R"("filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":4}]})");
    ASSERT_TRUE(route) << route.error().text();
    ASSERT_EQ(route->brokers.size(), 1U);
    EXPECT_EQ(route->brokers[0].cluster, "DefaultCluster");
    EXPECT_EQ(route->brokers[0].addresses.at(0), "10.0.0.1:10911");
    EXPECT_EQ(route->brokers[0].addresses.at(1), "10.0.0.3:10911");
    ASSERT_EQ(route->queues.size(), 1U);
    EXPECT_EQ(route->queues[0],
              (QueueData{.broker_name = "broker-a", .read_queues = 8, .write_queues = 4, .perm = 6, .topic_sys_flag = 0}));
}

TEST(Bodies, WritesRoutesThatItReads) {
    const TopicRoute route{{{.broker_name = "b", .read_queues = 4, .write_queues = 4, .perm = 6, .topic_sys_flag = 0}},
                           {{.cluster = "c", .broker_name = "b", .addresses = {{0, "127.0.0.1:10911"}}}}};
    const std::string json = route.to_json();
    EXPECT_NE(json.find(R"("brokerAddrs":{"0":"127.0.0.1:10911"})"), std::string::npos) << json;
    EXPECT_EQ(TopicRoute::parse(json).value(), route);
}

TEST(Bodies, HeartbeatTravels) {
    const Heartbeat heartbeat{
        "c@1",
        {"p"},
        {{.group = "g",
          .consume_type = ConsumeType::passively,
          .message_model = MessageModel::clustering,
          .from = ConsumeFromWhere::first_offset,
          .subscriptions = {{.topic = "t", .expression = "a || b", .version = 17, .expression_type = "TAG"}}}}};
    const std::string json = heartbeat.to_json();
    EXPECT_NE(json.find(R"("tagsSet":["a","b"],"codeSet":[97,98])"), std::string::npos) << json;
    EXPECT_NE(json.find(R"("consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET")"), std::string::npos) << json;
    EXPECT_EQ(Heartbeat::parse(json).value(), heartbeat);
}

TEST(Bodies, ReadsHeartbeatsOfCppAndGo) {
    const auto cpp = Heartbeat::parse(
        R"({"clientID":"c","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"g","messageModel":1,)"
        R"("subscriptionDataSet":[{"codeSet":[0],"subString":"*","subVersion":"1700000000000","tagsSet":[],"topic":"t"}]}]})");
    ASSERT_TRUE(cpp) << cpp.error().text();
    ASSERT_EQ(cpp->consumers.size(), 1U);
    EXPECT_EQ(cpp->consumers[0].from, ConsumeFromWhere::first_offset);
    EXPECT_EQ(cpp->consumers[0].message_model, MessageModel::clustering);
    EXPECT_EQ(cpp->consumers[0].subscriptions[0].version, 1'700'000'000'000);
    EXPECT_EQ(cpp->consumers[0].subscriptions[0].expression_type, "TAG");
    EXPECT_TRUE(cpp->producer_groups.empty());

    const auto go =
        Heartbeat::parse(R"({"clientID":"c","producerDataSet":[{"groupName":"p"}],"consumerDataSet":[{"groupName":"g",)"
                         R"("subscriptionDataSet":[{"topic":"t","subString":"a","codeSet":["97"],"subVersion":1}]}]})");
    ASSERT_TRUE(go);
    EXPECT_EQ(go->producer_groups, std::vector<std::string>{"p"});
}

TEST(Bodies, RefusesWhatIsNoObject) {
    EXPECT_FALSE(TopicRoute::parse(""));
    EXPECT_FALSE(TopicRoute::parse("[1]"));
    EXPECT_FALSE(Heartbeat::parse("{}")) << "no clientID";
    EXPECT_FALSE(ConsumerList::parse(std::string(10'000, '{')));
    EXPECT_EQ(Heartbeat::parse("null").error().code(), ErrorCode::protocol);
}

TEST(Bodies, GroupMembersAndLocksTravel) {
    EXPECT_EQ(ConsumerList::parse(ConsumerList{{"a", "b"}}.to_json())->client_ids, (std::vector<std::string>{"a", "b"}));
    const LockRequest request{"g", "c", {{"t", "b", 3}}};
    const auto read = LockRequest::parse(request.to_json());
    ASSERT_TRUE(read);
    EXPECT_EQ(read->consumer_group, "g");
    EXPECT_EQ(read->client_id, "c");
    EXPECT_EQ(read->queues, request.queues);
    EXPECT_EQ(LockResponse::parse(LockResponse{request.queues}.to_json())->locked, request.queues);
}

TEST(Bodies, QuotedTextWithDigitsAndCommasStaysAsItIs) {
    const auto list = ConsumerList::parse(R"({"consumerIdList":["a,1:b","{2:c\",3:"]})");
    ASSERT_TRUE(list) << list.error().text();
    EXPECT_EQ(list->client_ids, (std::vector<std::string>{"a,1:b", "{2:c\",3:"}));
}

}  // namespace
}  // namespace hufu::remoting
