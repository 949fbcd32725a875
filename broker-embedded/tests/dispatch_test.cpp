// The dispatcher request by request: frames in, frames out, on a simulated disk and virtual time.
#include <gmock/gmock.h>

#include <hufu/remoting/batch.hpp>

#include "dispatch/store.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(DispatchTest, AnswersASendOnlyAfterTheLogMadeItDurable) {
    start();
    request(client, RequestCode::send_message_v2, 7, send_header("orders", 3), "paid");
    EXPECT_THAT(take(client), IsEmpty());
    settle_log();
    const Sent answer = take_one(client);
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(answer.opaque, 7);
    EXPECT_EQ(answer.flag, remoting::flag_bit::response);
    EXPECT_EQ(answer.field("queueId"), "3");
    EXPECT_EQ(answer.field("queueOffset"), "0");
    const auto id = remoting::OffsetMessageId::parse(answer.field("msgId"));
    ASSERT_TRUE(id);
    EXPECT_EQ(id->host, options.advertised);
}

TEST_F(DispatchTest, AnswersAtOnceWhenDurabilityIsAsynchronous) {
    options.answer_before_durable = true;
    start();
    request(client, RequestCode::send_message_v2, 7, send_header("orders", 0), "paid");
    EXPECT_EQ(take_one(client).response(), ResponseCode::success);
    settle_log();
    EXPECT_THAT(take(client), IsEmpty());
}

TEST_F(DispatchTest, AnswersInTheFormOfTheRequest) {
    start();
    request(client, RequestCode::get_route_by_topic, 1, remoting::RouteRequest{"TBW102"}, {}, false,
            remoting::SerializeType::binary);
    const Sent answer = take_one(client);
    EXPECT_EQ(answer.serialize_type, remoting::SerializeType::binary);
    EXPECT_EQ(answer.response(), ResponseCode::success);
}

TEST_F(DispatchTest, NeverAnswersOneWayRequests) {
    start();
    request(client, RequestCode::send_message_v2, 1, send_header("orders", 0), "one", true);
    request(client, static_cast<RequestCode>(9999), 2, remoting::NoFields{}, {}, true);
    request(client, RequestCode::get_route_by_topic, 3, remoting::RouteRequest{"none"}, {}, true);
    settle_log();
    EXPECT_THAT(take(client), IsEmpty());
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("one"));
}

TEST_F(DispatchTest, RefusesUnknownCodes) {
    start();
    const Sent answer = ask(static_cast<RequestCode>(200050), remoting::NoFields{});
    EXPECT_EQ(answer.response(), ResponseCode::request_code_not_supported);
    EXPECT_EQ(answer.remark, " request type 200050 not supported");
}

TEST_F(DispatchTest, CreatesATopicWithTheDefaultQueueCountOnTheFirstSend) {
    options.default_queues = 5;
    start();
    EXPECT_EQ(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"orders"}).response(),
              ResponseCode::topic_not_exist);
    EXPECT_EQ(send("orders", 4, "x").response(), ResponseCode::success);
    const Sent answer = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"orders"});
    const auto route = remoting::TopicRoute::parse(answer.body).value();
    ASSERT_EQ(route.queues.size(), 1U);
    EXPECT_EQ(route.queues[0].write_queues, 5);
    EXPECT_EQ(route.queues[0].perm, 6);
    ASSERT_EQ(route.brokers.size(), 1U);
    EXPECT_EQ(route.brokers[0].addresses.at(0), "10.0.0.1:10911");
    const Sent outside = send("orders", 5, "x");
    EXPECT_EQ(outside.response(), ResponseCode::invalid_parameter);
    EXPECT_THAT(outside.remark, HasSubstr("queues 0 to 4, not 5"));
}

TEST_F(DispatchTest, SaysHowToMakeATopicWhenAutomaticCreationIsOff) {
    options.auto_create_topics = false;
    start();
    const Sent answer = send("orders", 0, "x");
    EXPECT_EQ(answer.response(), ResponseCode::topic_not_exist);
    EXPECT_THAT(answer.remark, HasSubstr("\"orders\""));
    EXPECT_THAT(answer.remark, HasSubstr("--auto-create-topics on"));
    EXPECT_EQ(ask(RequestCode::get_route_by_topic, remoting::RouteRequest{"TBW102"}).response(),
              ResponseCode::topic_not_exist);
}

TEST_F(DispatchTest, TakesDeadLettersInOneQueueEvenWithoutAutomaticCreation) {
    options.auto_create_topics = false;
    start();
    EXPECT_EQ(send("%DLQ%stock", 0, "dead").response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("%DLQ%stock", 0, 0))), ElementsAre("dead"));
    EXPECT_EQ(send("%DLQ%stock", 1, "dead").response(), ResponseCode::invalid_parameter);
}

TEST_F(DispatchTest, SendsWhatFailedTooOftenToTheDeadLetters) {
    start();
    auto header = send_header("%RETRY%stock", 0,
                              "DELAY\x01"
                              "5\x02");
    header.reconsume_times = 17;
    EXPECT_EQ(ask(RequestCode::send_message_v2, header, "tired").response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("%DLQ%stock", 0, 0))), ElementsAre("tired"));
}

TEST_F(DispatchTest, CreatesATopicWithNoMoreQueuesThanTheSenderAsksFor) {
    options.default_queues = 5;
    start();
    const auto queues_of = [&](std::string_view topic, std::int32_t wanted) {
        auto header = send_header(topic, 0);
        header.default_topic_queues = wanted;
        EXPECT_EQ(ask(RequestCode::send_message_v2, header, "x").response(), ResponseCode::success);
        const Sent answer = ask(RequestCode::get_route_by_topic, remoting::RouteRequest{topic});
        return remoting::TopicRoute::parse(answer.body).value().queues.at(0).write_queues;
    };
    EXPECT_EQ(queues_of("few", 3), 3);
    EXPECT_EQ(queues_of("many", 9), 5);
    EXPECT_EQ(queues_of("nonsense", -1), 1);
}

TEST_F(DispatchTest, StampsTheRegionAndForRequestsTheCluster) {
    start();
    send("orders", 0, "plain", "TAGS\x01t");
    send("orders", 0, "request",
         "REPLY_TO_CLIENT\x01"
         "c9\x02MSG_REGION\x01mine\x02");
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, 0));
    std::vector<std::string> found;
    std::span<const std::byte> rest = std::as_bytes(std::span{pulled.body});
    for (; !rest.empty(); rest = rest.subspan(remoting::peek_record_size(rest))) {
        const auto record = remoting::decode_record(rest).value();
        const remoting::PropertiesView properties{record.properties};
        found.push_back(std::string{properties.get("MSG_REGION").value_or("-")} + " " +
                        std::string{properties.get("CLUSTER").value_or("-")});
    }
    EXPECT_THAT(found, ElementsAre("DefaultRegion -", "mine " + options.cluster));
}

TEST_F(DispatchTest, PicksQueuesInTurnWhenTheSenderNamesNone) {
    options.default_queues = 2;
    start();
    EXPECT_EQ(send("orders", -1, "a").field("queueId"), "0");
    EXPECT_EQ(send("orders", -1, "b").field("queueId"), "1");
    EXPECT_EQ(send("orders", -1, "c").field("queueId"), "0");
}

TEST_F(DispatchTest, RefusesNamesAndSizesThatNoClientMayUse) {
    start();
    EXPECT_EQ(send("no spaces", 0, "x").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(send("", 0, "x").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(send(std::string(128, 't'), 0, "x").response(), ResponseCode::invalid_parameter);
    EXPECT_EQ(send(std::string(127, 't'), 0, "x").response(), ResponseCode::success);
    EXPECT_EQ(send("SCHEDULE_TOPIC_XXXX", 0, "x").response(), ResponseCode::no_permission);
    const Sent large = send("orders", 0, std::string(remoting::body_bytes_max + 1, 'x'));
    EXPECT_EQ(large.response(), ResponseCode::message_illegal);
    EXPECT_THAT(large.remark, HasSubstr("4194305"));
    EXPECT_EQ(send("orders", 0, std::string(remoting::body_bytes_max, 'x')).response(), ResponseCode::success);
}

TEST_F(DispatchTest, RefusesHalvesThatNameNoProducerGroup) {
    start();
    EXPECT_EQ(send("orders", 0, "x", "TRAN_MSG\x01true\x02").response(), ResponseCode::message_illegal);
    auto prepared = send_header("orders", 0);
    prepared.sys_flag = 4;
    EXPECT_EQ(ask(RequestCode::send_message_v2, prepared, "x").response(), ResponseCode::message_illegal);
}

TEST_F(DispatchTest, StoresWhatTheSenderSaidAndMintsAKeyWhereThereIsNone) {
    start();
    send("orders", 2, "with",
         "TAGS\x01paid\x02UNIQ_KEY\x01"
         "0123\x02");
    send("orders", 2, "without", "KEYS\x01k");
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 2, 0));
    const auto bytes = std::as_bytes(std::span{pulled.body});
    const auto first = remoting::decode_record(bytes).value();
    EXPECT_EQ(first.body, "with");
    EXPECT_EQ(first.topic, "orders");
    EXPECT_EQ(first.queue_id, 2);
    EXPECT_EQ(first.born_timestamp, 42);
    EXPECT_EQ(first.store_timestamp, clock.now_ms);
    EXPECT_EQ(first.born_host, (remoting::Host{{10, 0, 0, 2}, 4711}));
    EXPECT_EQ(first.store_host, options.advertised);
    EXPECT_EQ(first.properties,
              "TAGS\x01paid\x02UNIQ_KEY\x01"
              "0123\x02MSG_REGION\x01"
              "DefaultRegion\x02");
    const auto second = remoting::decode_record(bytes.subspan(remoting::peek_record_size(bytes))).value();
    const remoting::PropertiesView properties{second.properties};
    EXPECT_EQ(properties.get("KEYS"), "k");
    ASSERT_TRUE(properties.get("UNIQ_KEY"));
    EXPECT_EQ(properties.get("UNIQ_KEY")->size(), remoting::unique_key_size);
}

TEST_F(DispatchTest, StoresABatchAsMessagesAndAnswersOnce) {
    start();
    std::string batch;
    for (const char* body : {"a", "b", "c"}) remoting::append_batch_entry(batch, {0, body, "TAGS\x01t\x02"});
    auto header = send_header("orders", 1);
    header.batch = true;
    const Sent answer = ask(RequestCode::send_batch_message, header, batch);
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(answer.field("queueOffset"), "0");
    EXPECT_EQ(answer.field("msgId").size(), 3 * remoting::OffsetMessageId::size + 2);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 1, 0))), ElementsAre("a", "b", "c"));
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, batch.substr(0, batch.size() - 1)).response(),
              ResponseCode::message_illegal);
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, "").response(), ResponseCode::message_illegal);
}

TEST_F(DispatchTest, TakesTheLargestBatchOfSmallMessagesInOnePieceOrAsksToSplitIt) {
    log_options.first_segment_bytes = 4U << 20U;
    log_options.pending_bytes_max = (8U << 20U) + 2 * log_options.record_bytes_max;
    start();
    std::string batch;
    std::size_t count = 0;
    const std::string body(100, '.');
    for (; batch.size() + 200 < remoting::body_bytes_max; ++count) remoting::append_batch_entry(batch, {0, body, ""});
    auto header = send_header("orders", 1);
    header.batch = true;
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, batch).response(), ResponseCode::success);
    const QueueHandle queue = *log->find_queue("orders", 1);
    EXPECT_EQ(log->max_offset(queue), count);

    batch.clear();
    while (batch.size() + 100 < remoting::body_bytes_max) remoting::append_batch_entry(batch, {0, "1", ""});
    const Sent refused = ask(RequestCode::send_batch_message, header, batch);
    EXPECT_EQ(refused.response(), ResponseCode::message_illegal);
    EXPECT_THAT(refused.remark, ::testing::HasSubstr("split them"));
    EXPECT_EQ(log->max_offset(queue), count);
}

TEST_F(DispatchTest, RefusesABatchWholeWhenOneMessageHasNoRoomForItsUniqueKey) {
    start();
    EXPECT_EQ(send("orders", 1, "first").response(), ResponseCode::success);
    const std::string full = "a\x01" + std::string(remoting::properties_bytes_max - 2 - minted_key_bytes, 'x');
    std::string batch;
    remoting::append_batch_entry(batch, {0, "good", "TAGS\x01t\x02"});
    remoting::append_batch_entry(batch, {0, "bad", full + "y"});
    auto header = send_header("orders", 1);
    header.batch = true;
    const Sent refused = ask(RequestCode::send_batch_message, header, batch);
    EXPECT_EQ(refused.response(), ResponseCode::message_illegal);
    EXPECT_EQ(refused.remark, "the properties leave no room for a UNIQ_KEY; shorten them or set UNIQ_KEY");
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 1, 0))), ElementsAre("first"));

    batch.clear();
    remoting::append_batch_entry(batch, {0, "good", "TAGS\x01t\x02"});
    remoting::append_batch_entry(batch, {0, "just fits", full});
    EXPECT_EQ(ask(RequestCode::send_batch_message, header, batch).response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 1, 0))),
                ElementsAre("first", "good", "just fits"));
}

TEST_F(DispatchTest, RefusesSendsAfterAFailedSyncAndTakesThemAgainInANewSegment) {
    start();
    EXPECT_EQ(send("orders", 0, "before").response(), ResponseCode::success);
    disk.fail_nth(simulation::DiskCall::sync, 1);
    const Sent refused = send("orders", 0, "lost");
    EXPECT_EQ(refused.response(), ResponseCode::service_not_available);
    EXPECT_FALSE(refused.remark.empty());
    EXPECT_EQ(send("orders", 0, "after").response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, pull_header("orders", 0, 0))), ElementsAre("before", "after"));
}

TEST_F(DispatchTest, AnswersAPullPerItsOffset) {
    start();
    send("orders", 0, "a");
    send("orders", 0, "b");
    auto header = pull_header("orders", 0, 1);
    header.sys_flag = remoting::pull_flag::subscription;
    const Sent found = ask(RequestCode::pull_message, header);
    EXPECT_EQ(found.response(), ResponseCode::success);
    EXPECT_EQ(found.field("nextBeginOffset"), "2");
    EXPECT_EQ(found.field("minOffset"), "0");
    EXPECT_EQ(found.field("maxOffset"), "2");
    EXPECT_EQ(found.field("suggestWhichBrokerId"), "0");
    header.queue_offset = 2;
    EXPECT_EQ(ask(RequestCode::pull_message, header).response(), ResponseCode::pull_not_found);
    header.queue_offset = 9;
    const Sent beyond = ask(RequestCode::pull_message, header);
    EXPECT_EQ(beyond.response(), ResponseCode::pull_offset_moved);
    EXPECT_EQ(beyond.field("nextBeginOffset"), "2");
    header.topic = "nothing";
    EXPECT_EQ(ask(RequestCode::pull_message, header).response(), ResponseCode::topic_not_exist);
    header.topic = "orders";
    header.queue_id = 8;
    EXPECT_EQ(ask(RequestCode::pull_message, header).response(), ResponseCode::invalid_parameter);
}

TEST_F(DispatchTest, WakesAWaitingPullWhenAMessageIsDurable) {
    start();
    send("orders", 0, "old");
    const ConnectionId consumer = connect();
    request(consumer, RequestCode::pull_message, 9, pull_header("orders", 0, 1));
    EXPECT_THAT(take(consumer), IsEmpty());
    request(client, RequestCode::send_message_v2, 1, send_header("orders", 0), "new");
    EXPECT_THAT(take(consumer), IsEmpty());
    settle_log();
    const Sent woken = take_one(consumer);
    EXPECT_EQ(woken.response(), ResponseCode::success);
    EXPECT_EQ(woken.opaque, 9);
    EXPECT_THAT(bodies(woken), ElementsAre("new"));
}

TEST_F(DispatchTest, EndsAWaitAtItsDeadline) {
    start();
    send("orders", 0, "old");
    request(client, RequestCode::pull_message, 9, pull_header("orders", 0, 1));
    ASSERT_TRUE(dispatcher->next_tick());
    EXPECT_LE(*dispatcher->next_tick(), now() + 15s);
    advance(14'999ms);
    EXPECT_THAT(take(client), IsEmpty());
    advance(1ms);
    const Sent answer = take_one(client);
    EXPECT_EQ(answer.response(), ResponseCode::pull_not_found);
    EXPECT_EQ(answer.field("nextBeginOffset"), "1");
}

TEST_F(DispatchTest, FiltersByTagAndSleepsOnThroughUnwantedMessages) {
    start();
    send("orders", 0, "a", "TAGS\x01paid\x02");
    send("orders", 0, "b", "TAGS\x01open\x02");
    const Sent found = ask(RequestCode::pull_message, pull_header("orders", 0, 0, "paid || closed"));
    EXPECT_THAT(bodies(found), ElementsAre("a"));
    const ConnectionId consumer = connect();
    request(consumer, RequestCode::pull_message, 9, pull_header("orders", 0, 2, "paid || closed"));
    send("orders", 0, "c", "TAGS\x01open\x02");
    EXPECT_THAT(take(consumer), IsEmpty());
    send("orders", 0, "d",
         "TAGS\x01"
         "closed\x02");
    EXPECT_THAT(bodies(take_one(consumer)), ElementsAre("d"));
}

TEST_F(DispatchTest, ForgetsTheWaitingPullsOfAClosedConnection) {
    start();
    send("orders", 0, "old");
    const ConnectionId consumer = connect();
    request(consumer, RequestCode::pull_message, 9, pull_header("orders", 0, 1));
    dispatcher->disconnected(consumer, now());
    const ConnectionId successor = connect();
    EXPECT_EQ(successor.slot, consumer.slot);
    send("orders", 0, "new");
    EXPECT_THAT(take(successor), IsEmpty());
}

TEST_F(DispatchTest, NeedsAHeartbeatWhenThePullBringsNoSubscription) {
    start();
    send("orders", 0, "a", "TAGS\x01paid\x02");
    auto header = pull_header("orders", 0, 0);
    header.sys_flag = 0;
    EXPECT_EQ(ask(RequestCode::pull_message, header).response(), ResponseCode::subscription_not_exist);
    EXPECT_EQ(beat(client, "c1", "consumers", "orders", "paid").response(), ResponseCode::success);
    EXPECT_THAT(bodies(ask(RequestCode::pull_message, header)), ElementsAre("a"));
    header.sub_version = 2;
    EXPECT_EQ(ask(RequestCode::pull_message, header).response(), ResponseCode::subscription_not_latest);
}

TEST_F(DispatchTest, RefusesToPileUpAnswersThatNobodyReads) {
    options.connection_output_max = 1000;
    start();
    send("orders", 0, std::string(2000, 'x'));
    auto header = pull_header("orders", 0, 0);
    request(client, RequestCode::pull_message, 1, header);
    EXPECT_FALSE(dispatcher->accepts(client));
    request(client, RequestCode::pull_message, 2, header);
    const auto answers = take(client);
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(answers[0].response(), ResponseCode::success);
    EXPECT_EQ(answers[1].response(), ResponseCode::system_busy);
    EXPECT_TRUE(dispatcher->accepts(client));
}

TEST_F(DispatchTest, TakesNoMoreFramesWhileTheLogIsBehind) {
    options.unsettled_bytes_max = 1000;
    start();
    request(client, RequestCode::send_message_v2, 1, send_header("orders", 0), std::string(2000, 'x'));
    EXPECT_FALSE(dispatcher->accepts(client));
    settle_log();
    EXPECT_TRUE(dispatcher->accepts(client));
}

}  // namespace
}  // namespace hufu::broker::testing
