// What an administrator does to topics and asks of the name service.
#include <gmock/gmock.h>

#include <hufu/remoting/topic_bodies.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Any ext fields.
struct Fields {
    std::vector<std::pair<std::string, std::string>> pairs;
    void write(remoting::CommandWriter& writer) const {
        for (const auto& [name, value] : pairs) writer.field(name, value);
    }
};

Fields topic_fields(std::string name, int read, int write, std::string attributes = "") {
    return {{{"topic", std::move(name)},
             {"defaultTopic", "TBW102"},
             {"readQueueNums", std::to_string(read)},
             {"writeQueueNums", std::to_string(write)},
             {"perm", "6"},
             {"topicFilterType", "SINGLE_TAG"},
             {"topicSysFlag", "0"},
             {"order", "false"},
             {"attributes", std::move(attributes)}}};
}

class AdminTest : public DispatchTest {
protected:
    void SetUp() override { start(); }

    Sent make(std::string name, int read, int write, std::string attributes = "") {
        return ask(RequestCode::update_and_create_topic, topic_fields(std::move(name), read, write, std::move(attributes)));
    }
    Sent remove(std::string name) { return ask(RequestCode::delete_topic_in_broker, Fields{{{"topic", std::move(name)}}}); }
    remoting::TopicData config(std::string name) {
        return remoting::TopicData::parse(ask(RequestCode::get_topic_config, Fields{{{"topic", std::move(name)}}}).body)
            .value();
    }
    remoting::QueueData queues(std::string_view topic) {
        const Sent answer = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{topic});
        return remoting::TopicRoute::parse(answer.body).value().queues.at(0);
    }
    std::vector<std::string> names(RequestCode code, const Fields& fields = {}) {
        return remoting::TopicNames::parse(ask(code, fields).body).value().names;
    }
    std::string max_offset(std::string_view topic) {
        return ask(RequestCode::get_max_offset, remoting::QueueRequest{topic, 0}).field("offset");
    }
    std::string min_offset(std::string_view topic) {
        return ask(RequestCode::get_min_offset, remoting::QueueRequest{topic, 0}).field("offset");
    }
};

TEST_F(AdminTest, MakesATopicAndAnswersWhenItIsDurable) {
    request(client, RequestCode::update_and_create_topic, 7, topic_fields("Orders", 4, 8, "+message.type=FIFO"));
    EXPECT_THAT(take(client), IsEmpty());
    settle_log();
    EXPECT_EQ(take_one(client).response(), ResponseCode::success);
    restart();
    const remoting::TopicData stored = config("Orders");
    EXPECT_EQ(stored, (remoting::TopicData{"Orders", 4, 8, 6, 0, false, {{"message.type", "FIFO"}}}));
    EXPECT_EQ(queues("Orders").read_queues, 4);
    EXPECT_EQ(queues("Orders").write_queues, 8);
}

TEST_F(AdminTest, MakingATopicAgainChangesNothing) {
    make("Orders", 4, 4, "+message.type=FIFO");
    EXPECT_EQ(make("Orders", 4, 4, "+message.type=FIFO").response(), ResponseCode::success);
    EXPECT_EQ(make("Orders", 4, 4).response(), ResponseCode::success);
    EXPECT_EQ(config("Orders").attributes.at("message.type"), "FIFO") << "attributes that are not named stay";
}

TEST_F(AdminTest, GrowsATopicAndClosesQueuesToWriting) {
    make("Orders", 2, 2);
    EXPECT_EQ(make("Orders", 8, 8).response(), ResponseCode::success);
    EXPECT_EQ(send("Orders", 7, "x").response(), ResponseCode::success);
    EXPECT_EQ(make("Orders", 8, 1).response(), ResponseCode::success);
    for (int turn = 0; turn < 3; ++turn) EXPECT_EQ(send("Orders", -1, "x").field("queueId"), "0");
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("Orders", 7, 0))), ElementsAre("x")) << "still to be read";
}

TEST_F(AdminTest, SaysWhatIsWrongWithATopic) {
    EXPECT_THAT(make("no spaces", 1, 1).remark, HasSubstr("character outside"));
    EXPECT_EQ(make("TBW102", 1, 1).response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(make("rmq_sys_mine", 1, 1).response(), ResponseCode::invalid_parameter);
    EXPECT_THAT(make("Orders", 0, 1).remark, HasSubstr("readQueueNums 0 must be from 1"));
    EXPECT_THAT(make("Orders", 1, 99999).remark, HasSubstr("writeQueueNums 99999"));
    EXPECT_THAT(make("Orders", 1, 1, "+message.type=MIXED").remark, HasSubstr("enableMixedMessageType"));
    EXPECT_THAT(ask(RequestCode::update_and_create_topic, Fields{{{"topic", "Orders"}}}).remark,
                HasSubstr("field \"readQueueNums\" is missing"));
    EXPECT_EQ(ask(RequestCode::get_topic_config, Fields{{{"topic", "Orders"}}}).response(), ResponseCode::topic_not_exist);
}

TEST_F(AdminTest, MakesSeveralTopicsOrNone) {
    const std::string good =
        R"({"topicName":"A","readQueueNums":1,"writeQueueNums":1,"perm":6,"attributes":{"+message.type":"DELAY"}})";
    const std::string bad = R"({"topicName":"B","readQueueNums":0,"writeQueueNums":1,"perm":6})";
    EXPECT_EQ(ask(RequestCode::update_and_create_topic_list, Fields{}, R"({"topicConfigList":[)" + good + "," + bad + "]}")
                  .response(),
              ResponseCode::invalid_parameter);
    EXPECT_THAT(names(RequestCode::get_all_topic_list), Not(Contains("A")));
    EXPECT_EQ(ask(RequestCode::update_and_create_topic_list, Fields{}, R"({"topicConfigList":[)" + good + "]}").response(),
              ResponseCode::success);
    EXPECT_EQ(config("A").attributes.at("message.type"), "DELAY");
}

TEST_F(AdminTest, ADeletedTopicIsGone) {
    make("Orders", 1, 1);
    send("Orders", 0, "old");
    EXPECT_EQ(remove("Orders").response(), ResponseCode::success);
    EXPECT_EQ(remove("Orders").response(), ResponseCode::success) << "again";
    EXPECT_EQ(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"Orders"}).response(),
              ResponseCode::topic_not_exist);
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("Orders", 0, 0)).response(), ResponseCode::topic_not_exist);
    EXPECT_EQ(remove("TBW102").response(), ResponseCode::invalid_parameter);
    restart();
    EXPECT_THAT(names(RequestCode::get_all_topic_list), Not(Contains("Orders")));
}

TEST_F(AdminTest, TheSuccessorOfADeletedTopicServesNoOldMessage) {
    make("Orders", 1, 1);
    send("Orders", 0, "old");
    send("Orders", 0, "older");
    remove("Orders");
    make("Orders", 1, 1);
    EXPECT_EQ(min_offset("Orders"), "2");
    EXPECT_EQ(max_offset("Orders"), "2");
    const Sent moved = ask(RequestCode::pull_message, pull_header("Orders", 0, 0));
    EXPECT_EQ(moved.response(), ResponseCode::pull_offset_moved);
    EXPECT_EQ(moved.field("nextBeginOffset"), "2");
    send("Orders", 0, "new");
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("Orders", 0, 2))), ElementsAre("new"));
    restart();
    EXPECT_EQ(min_offset("Orders"), "2");
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("Orders", 0, 1)).response(), ResponseCode::pull_offset_moved);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("Orders", 0, 2))), ElementsAre("new"));
}

TEST_F(AdminTest, AMessageThatWasOnItsWayDoesNotReachTheSuccessor) {
    make("Orders", 1, 1);
    request(client, RequestCode::send_message_v2, 1, send_header("Orders", 0), "late");
    request(client, RequestCode::delete_topic_in_broker, 2, Fields{{{"topic", "Orders"}}});
    request(client, RequestCode::update_and_create_topic, 3, topic_fields("Orders", 1, 1));
    request(client, RequestCode::send_message_v2, 4, send_header("Orders", 0), "new");
    settle_log();
    EXPECT_EQ(take(client).size(), 4U);
    EXPECT_EQ(min_offset("Orders"), "1");
    restart();
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("Orders", 0, 1))), ElementsAre("new"));
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("Orders", 0, 0)).response(), ResponseCode::pull_offset_moved);
}

TEST_F(AdminTest, GroupsForgetWhereTheyStoodInADeletedTopic) {
    make("Orders", 1, 1);
    send("Orders", 0, "old");
    remoting::UpdateOffsetRequest commit{"consumers", "Orders", 0, 1};
    EXPECT_EQ(ask(RequestCode::update_consumer_offset, commit).response(), ResponseCode::success);
    remove("Orders");
    make("Orders", 1, 1);
    const auto position = [&] {
        return ask(RequestCode::query_consumer_offset, remoting::QueryOffsetRequest{"consumers", "Orders", 0, false});
    };
    EXPECT_EQ(position().response(), ResponseCode::query_not_found);
    advance(std::chrono::seconds{1});
    settle_log();
    restart();
    EXPECT_EQ(position().response(), ResponseCode::query_not_found);
}

TEST_F(AdminTest, AWaitingPullLearnsThatItsTopicWasDeleted) {
    make("Orders", 1, 1);
    request(client, RequestCode::pull_message, 9, pull_header("Orders", 0, 0));
    EXPECT_THAT(take(client), IsEmpty());
    const ConnectionId admin = connect();
    request(admin, RequestCode::delete_topic_in_broker, 2, Fields{{{"topic", "Orders"}}});
    const Sent answer = take_one(client);
    EXPECT_EQ(answer.opaque, 9);
    EXPECT_EQ(answer.response(), ResponseCode::topic_not_exist);
}

TEST_F(AdminTest, ListsTopicsAndSystemTopics) {
    make("Orders", 1, 1);
    const auto all = names(RequestCode::get_all_topic_list);
    for (const char* name : {"Orders", "TBW102", "SELF_TEST_TOPIC", "DefaultCluster", "hufu", "DefaultCluster_REPLY_TOPIC"})
        EXPECT_THAT(all, Contains(name));
    EXPECT_EQ(names(RequestCode::get_topics_by_cluster, {{{"cluster", "DefaultCluster"}}}), all);
    EXPECT_THAT(names(RequestCode::get_topics_by_cluster, {{{"cluster", "other"}}}), IsEmpty());
    EXPECT_THAT(names(RequestCode::get_system_topic_list_from_name_server), ElementsAre("DefaultCluster", "hufu"));
    EXPECT_THAT(names(RequestCode::get_system_topic_list_from_broker), Contains("TBW102"));
    EXPECT_THAT(names(RequestCode::get_system_topic_list_from_broker), Not(Contains("Orders")));
}

TEST_F(AdminTest, HandsOutTopicConfigsPageByPage) {
    for (const char* name : {"A", "B", "C"}) make(name, 1, 1);
    const Sent all = ask(RequestCode::get_all_topic_config, Fields{});
    const auto total = remoting::parse_topic_table(all.body).value().size();
    EXPECT_EQ(all.field("totalTopicNum"), std::to_string(total));
    const Sent page = ask(RequestCode::get_all_topic_config, Fields{{{"topicSeq", "0"}, {"maxTopicNum", "2"}}});
    const auto topics = remoting::parse_topic_table(page.body).value();
    ASSERT_EQ(topics.size(), 2U);
    EXPECT_EQ(topics[0].name, "A");
    EXPECT_EQ(page.field("totalTopicNum"), std::to_string(total));
}

TEST_F(AdminTest, SystemTopicsTakeMessagesOnlyWhereClientsMaySend) {
    options.auto_create_topics = false;
    restart();
    EXPECT_EQ(send("RMQ_SYS_TRACE_TOPIC", 0, "trace").response(), ResponseCode::success);
    EXPECT_EQ(send("SELF_TEST_TOPIC", 0, "x").response(), ResponseCode::no_permission);
    EXPECT_EQ(send("rmq_sys_wheel_timer", 0, "x").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(send("TBW102", 0, "x").response(), ResponseCode::no_permission);
    EXPECT_EQ(send("Orders", 0, "x").response(), ResponseCode::topic_not_exist);
}

TEST_F(AdminTest, KeepsKeysAndValues) {
    const auto get = [&] {
        return ask(RequestCode::get_kv_config, Fields{{{"namespace", "ORDER_TOPIC_CONFIG"}, {"key", "Orders"}}});
    };
    EXPECT_EQ(get().response(), ResponseCode::query_not_found);
    const Fields entry{{{"namespace", "ORDER_TOPIC_CONFIG"}, {"key", "Orders"}, {"value", "hufu:4"}}};
    EXPECT_EQ(ask(RequestCode::put_kv_config, entry).response(), ResponseCode::success);
    restart();
    EXPECT_EQ(get().field("value"), "hufu:4");
    EXPECT_EQ(ask(RequestCode::get_kv_list_by_namespace, Fields{{{"namespace", "ORDER_TOPIC_CONFIG"}}}).body,
              R"({"table":{"Orders":"hufu:4"}})");
    make("Orders", 4, 4);
    const Sent route = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"Orders"});
    EXPECT_EQ(remoting::TopicRoute::parse(route.body).value().order_conf, "hufu:4");
    EXPECT_EQ(ask(RequestCode::delete_kv_config, entry).response(), ResponseCode::success);
    EXPECT_EQ(get().response(), ResponseCode::query_not_found);
    EXPECT_EQ(ask(RequestCode::get_kv_list_by_namespace, Fields{{{"namespace", "ORDER_TOPIC_CONFIG"}}}).response(),
              ResponseCode::query_not_found);
    EXPECT_EQ(ask(RequestCode::put_kv_config, Fields{{{"namespace", "a/b"}, {"key", "c"}, {"value", "d"}}}).response(),
              ResponseCode::invalid_parameter);
}

TEST_F(AdminTest, DescribesTheClusterAsNameServersDo) {
    EXPECT_EQ(
        ask(RequestCode::get_broker_cluster_info, Fields{}).body,
        R"({"brokerAddrTable":{"hufu":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"hufu","cluster":"DefaultCluster",)"
        R"("enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["hufu"]}})");
}

TEST_F(AdminTest, RoutesCanSendProducersElsewhere) {
    make("Orders", 1, 1);
    EXPECT_EQ(ask(RequestCode::wipe_write_perm_of_broker, Fields{{{"brokerName", "other"}}}).field("wipeTopicCount"), "0");
    EXPECT_EQ(queues("Orders").perm, 6);
    EXPECT_EQ(ask(RequestCode::wipe_write_perm_of_broker, Fields{{{"brokerName", "hufu"}}}).field("wipeTopicCount"), "1");
    EXPECT_EQ(queues("Orders").perm, 4);
    restart();
    EXPECT_EQ(queues("Orders").perm, 4);
    EXPECT_EQ(ask(RequestCode::add_write_perm_of_broker, Fields{{{"brokerName", "hufu"}}}).field("addTopicCount"), "1");
    EXPECT_EQ(queues("Orders").perm, 6);
}

TEST_F(AdminTest, TheNameServiceForgetsATopicWithTheBroker) {
    make("Orders", 1, 1);
    const Fields topic{{{"topic", "Orders"}}};
    EXPECT_THAT(ask(RequestCode::delete_topic_in_name_server, topic).remark, HasSubstr("delete it there"));
    remove("Orders");
    EXPECT_EQ(ask(RequestCode::delete_topic_in_name_server, topic).response(), ResponseCode::success);
}

TEST_F(AdminTest, RegistersATopicOfThisBroker) {
    remoting::TopicRoute route;
    route.queues.push_back({"hufu", 3, 2, 6, 0});
    const Fields topic{{{"topic", "Orders"}}};
    EXPECT_EQ(ask(RequestCode::register_topic_in_name_server, topic, route.to_json()).response(), ResponseCode::success);
    EXPECT_EQ(queues("Orders").read_queues, 3);
    route.queues[0].broker_name = "other";
    EXPECT_THAT(ask(RequestCode::register_topic_in_name_server, topic, route.to_json()).remark,
                HasSubstr("knows one broker"));
}

}  // namespace
}  // namespace hufu::broker::testing
