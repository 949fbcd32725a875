// What passes between clients through the broker: connection lists, questions to consumers, replies to requests.
#include <gmock/gmock.h>

#include <hufu/remoting/object_map.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ClientsTest : public DispatchTest {
protected:
    /// The frame as a client of another language would have written it.
    static std::string as_java(std::string frame) {
        const std::string cpp = R"("language":"CPP")";
        const auto at = frame.find(cpp);
        frame.replace(at, cpp.size(), R"("language":"OMS")");  // of the same length, so that the frame stays whole
        return frame;
    }
    void beat_from(ConnectionId from, const remoting::Heartbeat& heartbeat, bool java = true) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::json, RequestCode::heartbeat, 5, remoting::NoFields{},
                                 heartbeat.to_json());
        ASSERT_TRUE(deliver(from, java ? as_java(frame) : frame));
        settle_log();
        EXPECT_EQ(take(from).front().response(), ResponseCode::success);
    }
    static remoting::Heartbeat consumer(std::string id, std::string group) {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = std::move(id);
        heartbeat.consumers.push_back({.group = std::move(group), .subscriptions = {{"orders", "a || b", 7, "TAG"}}});
        return heartbeat;
    }
    static remoting::Heartbeat producer(std::string id, std::string group) {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = std::move(id);
        heartbeat.producer_groups = {std::move(group)};
        return heartbeat;
    }
    void answer(ConnectionId from, const Sent& question, ResponseCode code, std::string_view body = {},
                std::string_view remark = {}) {
        std::string frame;
        remoting::CommandWriter writer{frame,           remoting::SerializeType::json, static_cast<std::int32_t>(code),
                                       question.opaque, remoting::flag_bit::response,  remark};
        writer.finish(body);
        ASSERT_TRUE(deliver(from, std::move(frame)));
    }
    void ask_running_info(ConnectionId admin, std::string id) {
        request(admin, RequestCode::get_consumer_running_info, 8,
                RawFields{{{"consumerGroup", "stock"}, {"clientId", std::move(id)}, {"jstackEnable", "false"}}});
    }
    /// A reply to the requester with this client id.
    void reply(ConnectionId from, std::string_view requester, std::string_view body,
               std::string topic = "DefaultCluster_REPLY_TOPIC", RequestCode code = RequestCode::send_reply_message_v2) {
        std::string properties;
        remoting::append_property(properties, "CORRELATION_ID", "42");
        remoting::append_property(properties, "MSG_TYPE", "reply");
        if (!requester.empty()) remoting::append_property(properties, "REPLY_TO_CLIENT", requester);
        request(from, code, 6, send_header(topic, 0, properties), body);
    }
};

TEST_F(ClientsTest, ListsTheConsumersOfAGroup) {
    start();
    EXPECT_EQ(ask(RequestCode::get_consumer_connection_list, RawFields{{{"consumerGroup", "stock"}}}).response(),
              ResponseCode::consumer_not_online);
    EXPECT_EQ(ask(RequestCode::get_consumer_connection_list, RawFields{}).response(), ResponseCode::invalid_parameter);
    beat_from(client, consumer("c1", "stock"));
    const Sent list = ask(RequestCode::get_consumer_connection_list, RawFields{{{"consumerGroup", "stock"}}});
    EXPECT_EQ(list.response(), ResponseCode::success);
    EXPECT_THAT(list.body, HasSubstr(R"({"clientId":"c1","clientAddr":"10.0.0.2:4711","language":"OMS","version":409})"));
    EXPECT_THAT(list.body, HasSubstr(R"("orders":{"topic":"orders","subString":"a || b")"));
    EXPECT_THAT(list.body, HasSubstr(R"("messageModel":"CLUSTERING")"));
}

TEST_F(ClientsTest, ListsProducersUntilTheyGo) {
    start();
    const auto list = [this](std::string group) {
        return ask(RequestCode::get_producer_connection_list, RawFields{{{"producerGroup", std::move(group)}}});
    };
    EXPECT_EQ(list("shop").response(), ResponseCode::system_error);
    beat_from(client, producer("p1", "shop"));
    EXPECT_THAT(list("shop").body, HasSubstr(R"("clientId":"p1")"));
    EXPECT_THAT(ask(RequestCode::get_all_producer_info, remoting::NoFields{}).body,
                HasSubstr(R"({"data":{"shop":[{"clientId":"p1","language":"OMS","lastUpdateTimestamp":)"));
    ask(RequestCode::unregister_client, remoting::UnregisterRequest{"p1", "shop", ""});
    EXPECT_EQ(list("shop").response(), ResponseCode::system_error);
    const ConnectionId other = connect();
    beat_from(other, producer("p2", "shop"));
    dispatcher->disconnected(other, now());
    EXPECT_EQ(list("shop").response(), ResponseCode::system_error);
    beat_from(client, producer("p1", "shop"));
    advance(130s);
    EXPECT_EQ(list("shop").response(), ResponseCode::system_error);
}

TEST_F(ClientsTest, TellsWhatAGroupConsumes) {
    start();
    send("orders", 0, "x");
    ask(RequestCode::update_consumer_offset, remoting::UpdateOffsetRequest{"stock", "orders", 0, 1});
    EXPECT_EQ(ask(RequestCode::query_topics_by_consumer, RawFields{{{"group", "stock"}}}).body,
              R"({"brokerAddr":"10.0.0.1:10911","topicList":["orders"]})");
    EXPECT_EQ(ask(RequestCode::query_subscription_by_consumer, RawFields{{{"group", "stock"}, {"topic", "orders"}}}).body,
              R"({"group":"stock","topic":"orders"})");
    beat_from(client, consumer("c1", "stock"));
    EXPECT_THAT(ask(RequestCode::query_subscription_by_consumer, RawFields{{{"group", "stock"}, {"topic", "orders"}}}).body,
                HasSubstr(R"("subscriptionData":{"topic":"orders","subString":"a || b")"));
}

TEST_F(ClientsTest, AMemberListIsSortedAndNamesEachClientOnce) {
    start();
    const ConnectionId second = connect();
    const ConnectionId third = connect();
    for (const auto& [connection, id] : {std::pair{client, "c"}, std::pair{second, "a"}, std::pair{third, "a"}})
        beat_from(connection, consumer(id, "stock"));
    const auto members = [this] {
        return remoting::ConsumerList::parse(
                   ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"}).body)
            .value()
            .client_ids;
    };
    take(client);
    EXPECT_THAT(members(), ElementsAre("a", "c"));
    dispatcher->disconnected(second, now());  // its twin on the other channel is still there
    take(client);
    EXPECT_THAT(members(), ElementsAre("a", "c"));
    dispatcher->disconnected(third, now());
    take(client);
    EXPECT_THAT(members(), ElementsAre("c"));
}

TEST_F(ClientsTest, KnowsTheSubscriptionsOfAHeartbeatThatLeavesThemOut) {
    start();
    remoting::Heartbeat heartbeat = consumer("c1", "stock");
    heartbeat.fingerprint = 99;
    const auto changed = [&] {
        request(client, RequestCode::heartbeat, 5, remoting::NoFields{}, heartbeat.to_json());
        settle_log();
        return take(client).front().field("IS_SUB_CHANGE");  // a notification of its own group may follow
    };
    EXPECT_EQ(changed(), "false");
    heartbeat.consumers[0].subscriptions.clear();
    heartbeat.without_subscriptions = true;
    EXPECT_EQ(changed(), "false");
    EXPECT_THAT(ask(RequestCode::query_subscription_by_consumer, RawFields{{{"group", "stock"}, {"topic", "orders"}}}).body,
                HasSubstr("a || b"));
    heartbeat.fingerprint = 100;
    EXPECT_EQ(changed(), "true");
    restart();
    heartbeat.fingerprint = 99;
    EXPECT_EQ(changed(), "true");
}

TEST_F(ClientsTest, AWaitingPullEndsWhenItsGroupWantsSomethingElse) {
    start();
    send("orders", 0, "x");
    remoting::Heartbeat heartbeat = consumer("c1", "stock");
    beat_from(client, heartbeat);
    take(client);
    auto header = pull_header("orders", 0, 1);
    header.consumer_group = "stock";
    header.sys_flag = remoting::pull_flag::suspend;
    const ConnectionId puller = connect();
    request(puller, RequestCode::pull_message, 9, header);
    heartbeat.consumers[0].subscriptions[0].version = 8;
    beat_from(client, heartbeat);
    EXPECT_THAT(take(puller), IsEmpty());  // newer, and the same
    heartbeat.consumers[0].subscriptions[0].version = 9;
    heartbeat.consumers[0].subscriptions[0].expression = "c";
    beat_from(client, heartbeat);
    const Sent ended = take_one(puller);
    EXPECT_EQ(ended.response(), ResponseCode::pull_retry_immediately);
    EXPECT_EQ(ended.field("nextBeginOffset"), "1");
}

TEST_F(ClientsTest, RefreshesMembersEvenWhenThereIsNoRoomForMore) {
    options.members_max = 1;
    start();
    beat_from(client, consumer("c1", "stock"));
    const ConnectionId second = connect();
    request(second, RequestCode::heartbeat, 1, remoting::NoFields{}, consumer("c2", "stock").to_json());
    EXPECT_EQ(take_one(second).response(), ResponseCode::system_busy);
    clock.now_ms += 100'000;
    beat_from(client, consumer("c1", "stock"));
    advance(100s);
    EXPECT_EQ(ask(RequestCode::get_consumer_list_by_group, remoting::GroupRequest{"stock"}).response(),
              ResponseCode::success);
}

TEST_F(ClientsTest, AsksAConsumerForAnAdministrator) {
    start();
    beat_from(client, consumer("c1", "stock"));
    const ConnectionId admin = connect();
    ask_running_info(admin, "c1");
    const Sent question = take_one(client);
    EXPECT_EQ(question.code, static_cast<std::int32_t>(RequestCode::get_consumer_running_info));
    EXPECT_EQ(question.flag, 0);
    EXPECT_EQ(question.field("clientId"), "c1");
    EXPECT_EQ(question.field("jstackEnable"), "false");
    answer(client, question, ResponseCode::success, R"({"jstack":"..."})");
    const Sent info = take_one(admin);
    EXPECT_EQ(info.opaque, 8);
    EXPECT_EQ(info.response(), ResponseCode::success);
    EXPECT_EQ(info.body, R"({"jstack":"..."})");
}

TEST_F(ClientsTest, SaysWhenAConsumerDoesNotAnswer) {
    start();
    beat_from(client, consumer("c1", "stock"));
    const ConnectionId admin = connect();
    ask_running_info(admin, "c2");
    EXPECT_EQ(take_one(admin).response(), ResponseCode::system_error);
    ask_running_info(admin, "c1");
    EXPECT_THAT(take(admin), IsEmpty());
    ASSERT_TRUE(dispatcher->next_tick());
    advance(10s);
    EXPECT_EQ(take_one(admin).response(), ResponseCode::consume_message_timeout);
    take(client);
    ask_running_info(admin, "c1");
    dispatcher->disconnected(client, now());
    const Sent gone = take_one(admin);
    EXPECT_EQ(gone.response(), ResponseCode::system_error);
    EXPECT_THAT(gone.remark, HasSubstr("closed"));
}

TEST_F(ClientsTest, HandsAStoredMessageToAConsumer) {
    start();
    const Sent sent = send("orders", 0, "look at me");
    beat_from(client, consumer("c1", "stock"));
    const ConnectionId admin = connect();
    const auto consume = [&](std::string id) {
        request(admin, RequestCode::consume_message_directly, 4,
                RawFields{{{"consumerGroup", "stock"}, {"clientId", "c1"}, {"msgId", std::move(id)}, {"topic", "orders"}}});
    };
    consume(sent.field("msgId"));
    const Sent question = take_one(client);
    EXPECT_EQ(question.field("brokerName"), "hufu");
    EXPECT_EQ(question.field("topicSysFlag"), "0");
    EXPECT_THAT(bodies(question), ElementsAre("look at me"));
    answer(client, question, ResponseCode::success, R"({"consumeResult":"CR_SUCCESS"})");
    EXPECT_THAT(take_one(admin).body, HasSubstr("CR_SUCCESS"));
    consume("no id");
    EXPECT_EQ(take_one(admin).response(), ResponseCode::invalid_parameter);
    consume(remoting::OffsetMessageId{{}, 123}.to_string());
    EXPECT_EQ(take_one(admin).response(), ResponseCode::system_error);
}

TEST_F(ClientsTest, GathersWhereConsumersStandInMemory) {
    start();
    const ConnectionId second = connect();
    const ConnectionId cpp = connect();
    beat_from(client, consumer("c1", "stock"));
    beat_from(second, consumer("c2", "stock"));
    beat_from(cpp, consumer("c3", "stock"), false);
    take(client);
    take(second);
    const ConnectionId admin = connect();
    const auto ask_status = [&](std::string id) {
        request(admin, RequestCode::invoke_broker_to_get_consumer_status, 4,
                RawFields{{{"topic", "orders"}, {"group", "stock"}, {"clientAddr", std::move(id)}}});
    };
    ask_status("");
    EXPECT_THAT(take(cpp), IsEmpty());
    answer(client, take_one(client), ResponseCode::success,
           R"({"messageQueueTable":{{"brokerName":"hufu","queueId":0,"topic":"orders"}:7}})");
    EXPECT_THAT(take(admin), IsEmpty());
    answer(second, take_one(second), ResponseCode::success, "garbage");
    EXPECT_EQ(take_one(admin).body, R"({"consumerTable":{"c1":{{"brokerName":"hufu","queueId":0,"topic":"orders"}:7}}})");
    ask_status("c2");
    EXPECT_THAT(take(client), IsEmpty());
    advance(5s);
    EXPECT_EQ(take_one(admin).body, R"({"consumerTable":{}})");
    ask_status("nobody");
    EXPECT_EQ(take_one(admin).body, R"({"consumerTable":{}})");
}

TEST_F(ClientsTest, PushesAReplyToTheRequesterAndKeepsIt) {
    start();
    beat_from(client, producer("p1", "shop"));
    {
        const ConnectionId responder = connect();
        reply(responder, "p1", "the answer");
        const Sent pushed = take_one(client);
        EXPECT_EQ(pushed.code, static_cast<std::int32_t>(RequestCode::push_reply_message_to_client));
        EXPECT_EQ(pushed.body, "the answer");
        EXPECT_EQ(pushed.field("topic"), "DefaultCluster_REPLY_TOPIC");
        EXPECT_EQ(pushed.field("bornHost"), "10.0.0.2:4711");
        EXPECT_EQ(pushed.field("storeHost"), "10.0.0.1:10911");
        EXPECT_THAT(pushed.field("properties"), HasSubstr("CORRELATION_ID\x01"
                                                          "42\x02"));
        EXPECT_THAT(pushed.field("properties"), HasSubstr("PUSH_REPLY_TIME\x01"));
        answer(client, pushed, ResponseCode::success);
        EXPECT_THAT(take(responder), IsEmpty());  // not yet durable
        settle_log();
        const Sent done = take_one(responder);
        EXPECT_EQ(done.response(), ResponseCode::success);
        EXPECT_TRUE(remoting::OffsetMessageId::parse(done.field("msgId")));
        EXPECT_EQ(done.field("queueOffset"), "0");
        EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("DefaultCluster_REPLY_TOPIC", 0, 0))),
                    ElementsAre("the answer"));
    }
}

TEST_F(ClientsTest, ARequestCarriesTheClusterThatItsReplyGoesTo) {
    start();
    const auto cluster = [this](std::string properties) {
        const Sent sent = send("orders", 0, "?", properties);
        const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, std::stoll(sent.field("queueOffset"))));
        const auto record = remoting::decode_record(std::as_bytes(std::span{pulled.body})).value();
        return std::string{remoting::PropertiesView{record.properties}.get("CLUSTER").value_or("(absent)")};
    };
    EXPECT_EQ(cluster("REPLY_TO_CLIENT\x01p1\x02"), "DefaultCluster");
    EXPECT_EQ(cluster("REPLY_TO_CLIENT\x01p1"), "DefaultCluster");
    EXPECT_EQ(cluster("REPLY_TO_CLIENT\x01p1\x02"
                      "CLUSTER\x01mine\x02"),
              "mine");
    EXPECT_EQ(cluster("note\x01REPLY_TO_CLIENT\x02"), "(absent)");
    EXPECT_EQ(cluster(""), "(absent)");
}

TEST_F(ClientsTest, SaysWhyAReplyDidNotReachItsRequester) {
    start();
    const ConnectionId responder = connect();
    const auto outcome = [&] {
        settle_log();
        return take_one(responder);
    };
    reply(responder, "p1", "x");
    EXPECT_THAT(outcome().remark, HasSubstr("channel of <p1> not found"));
    reply(responder, "", "x");
    EXPECT_THAT(outcome().remark, HasSubstr("[REPLY_TO_CLIENT] is null"));
    reply(responder, "p1", "x", "orders");
    EXPECT_EQ(outcome().response(), ResponseCode::invalid_parameter);
    reply(responder, "p1", std::string(4 * 1024 * 1024 + 1, 'x'));
    EXPECT_EQ(outcome().response(), ResponseCode::message_illegal);
    beat_from(client, producer("p1", "shop"));
    reply(responder, "p1", "x");
    answer(client, take_one(client), ResponseCode::system_error, {}, "nobody waits");
    EXPECT_THAT(outcome().remark, HasSubstr("it answered 1 nobody waits"));
    reply(responder, "p1", "x");
    settle_log();
    EXPECT_THAT(take(responder), IsEmpty());
    advance(3s);
    const Sent late = take_one(responder);
    EXPECT_EQ(late.response(), ResponseCode::system_error);
    EXPECT_THAT(late.remark, HasSubstr("did not answer"));
    take(client);
    reply(responder, "p1", "x");
    settle_log();
    dispatcher->disconnected(client, now());
    EXPECT_THAT(take_one(responder).remark, HasSubstr("closed"));
}

TEST_F(ClientsTest, AnswersNonsenseWithACodeAndASentence) {
    start();
    beat_from(client, consumer("c1", "stock"));
    const ConnectionId stranger = connect();
    const std::string long_text(5000, 'x');
    const std::string values[] = {"", "-1", "99999999999999999999", "null", "%RETRY%", std::string(1, '\x01'), long_text};
    const char* names[] = {"group",    "consumerGroup", "producerGroup", "groupName",  "topic",
                           "clientId", "msgId",         "offset",        "delayLevel", "timestamp",
                           "queueId",  "srcGroup",      "destGroup",     "clientAddr", "clientID",
                           "sysFlag",  "queueOffset",   "isForce",       "cleanOffset"};
    const std::string bodies[] = {"",
                                  "{",
                                  "[]",
                                  R"({"groupName":[]})",
                                  R"({"clientID":7,"consumerDataSet":[{"groupName":{}}]})",
                                  std::string(1U << 20U, '[')};
    for (const int code : {34,  35,  36,  38,  41,  42,  43,  200, 201, 203, 204, 207, 222,
                           223, 225, 307, 309, 314, 324, 325, 328, 343, 345, 352, 361}) {
        for (const std::string& body : bodies) {
            RawFields header;
            for (const char* name : names) header.fields.emplace_back(name, values[random.below(std::size(values))]);
            request(stranger, static_cast<RequestCode>(code), 1, header, body);
            settle_log();
            const auto answers = take(stranger);
            ASSERT_EQ(answers.size(), 1U) << code;
            if (answers[0].response() != ResponseCode::success) {
                EXPECT_FALSE(answers[0].remark.empty()) << code;
                EXPECT_LT(answers[0].remark.size(), 2000U) << code;
            }
        }
    }
}

}  // namespace
}  // namespace hufu::broker::testing
