// Delayed messages: levels, times, recalls, restarts, steps of the clock, deleted topics.
#include <gmock/gmock.h>

#include <hufu/remoting/batch.hpp>

#include "dispatch/recall_handle.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct RecallRequest {
    std::string_view topic;
    std::string_view handle;
    void write(remoting::CommandWriter& writer) const {
        writer.field("producerGroup", "producers");
        writer.field("topic", topic);
        writer.field("recallHandle", handle);
    }
};

std::string property(std::string_view name, std::string_view value) {
    std::string text;
    remoting::append_property(text, name, value);
    return text;
}
std::string property(std::string_view name, std::int64_t value) { return property(name, std::to_string(value)); }

class TimersTest : public DispatchTest {
protected:
    TimersTest() { clock.now_ms = 1'700'000'000'000; }

    /// Lets everything happen that is due now.
    void work() {
        for (int turns = 0; turns < 10'000; ++turns) {
            dispatcher->tick(now());
            settle_log();
            const auto next = dispatcher->next_tick();
            if (!next || *next > now()) return;
        }
        FAIL() << "the dispatcher never comes to rest";
    }
    void pass(std::chrono::milliseconds time) {
        clock.now_ms += time.count();
        work();
    }
    std::vector<std::string> read(std::string_view topic, std::int32_t queue = 0) {
        auto header = pull_header(topic, queue, 0);
        header.sys_flag = remoting::pull_flag::subscription;
        header.messages_max = 1000;
        return bodies(ask(RequestCode::pull_message, header));
    }
    /// The properties of the first message of the queue.
    std::string properties_of(std::string_view topic) {
        auto header = pull_header(topic, 0, 0);
        header.sys_flag = remoting::pull_flag::subscription;
        const Sent pulled = ask(RequestCode::pull_message, header);
        const auto record = remoting::decode_record(std::as_bytes(std::span{pulled.body}));
        return record ? std::string{record->properties} : std::string{};
    }
    Sent recall(std::string_view topic, std::string_view handle) {
        return ask(RequestCode::recall_message, RecallRequest{topic, handle});
    }
};

TEST_F(TimersTest, DeliversALevelAfterItsTimeAndNotBefore) {
    start();
    const Sent answer = send("orders", 0, "later", property("DELAY", 2));
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(answer.field("queueId"), "0");
    EXPECT_EQ(answer.field("recallHandle"), "(absent)");
    pass(4'999ms);
    EXPECT_THAT(read("orders"), IsEmpty());
    pass(1ms);
    EXPECT_THAT(read("orders"), ElementsAre("later"));
    pass(1h);
    EXPECT_THAT(read("orders"), ElementsAre("later"));
}

TEST_F(TimersTest, ClampsALevelAboveTheLastAndTakesNoneFromZero) {
    options.delay_levels = {1s, 7s};
    start();
    send("orders", 0, "clamped", property("DELAY", 99));
    send("orders", 0, "now", property("DELAY", 0));
    send("orders", 0, "now too", property("DELAY", -3));
    EXPECT_THAT(read("orders"), ElementsAre("now", "now too"));
    pass(7s);
    EXPECT_THAT(read("orders"), ElementsAre("now", "now too", "clamped"));
}

TEST_F(TimersTest, KeepsAMillisecondsGrain) {
    start();
    send("orders", 0, "b", property("TIMER_DELAY_MS", 7));
    send("orders", 0, "a", property("TIMER_DELIVER_MS", clock.now_ms + 3));
    pass(2ms);
    EXPECT_THAT(read("orders"), IsEmpty());
    pass(1ms);
    EXPECT_THAT(read("orders"), ElementsAre("a"));
    pass(3ms);
    EXPECT_THAT(read("orders"), ElementsAre("a"));
    pass(1ms);
    EXPECT_THAT(read("orders"), ElementsAre("a", "b"));
}

TEST_F(TimersTest, ALevelGoesBeforeATimeAndSecondsBeforeTheRest) {
    start();
    send("orders", 0, "level", property("DELAY", 1) + property("TIMER_DELAY_SEC", 60));
    send("orders", 0, "seconds",
         property("TIMER_DELIVER_MS", clock.now_ms + 90'000) + property("TIMER_DELAY_MS", 80'000) +
             property("TIMER_DELAY_SEC", 2));
    send("orders", 0, "millis", property("TIMER_DELIVER_MS", clock.now_ms + 90'000) + property("TIMER_DELAY_MS", 3'000));
    pass(1s);
    EXPECT_THAT(read("orders"), ElementsAre("level"));
    pass(1s);
    EXPECT_THAT(read("orders"), ElementsAre("level", "seconds"));
    pass(1s);
    EXPECT_THAT(read("orders"), ElementsAre("level", "seconds", "millis"));
}

TEST_F(TimersTest, SendsWhatIsPastAtOnce) {
    start();
    const Sent answer = send("orders", 0, "past", property("TIMER_DELIVER_MS", clock.now_ms));
    EXPECT_EQ(answer.field("recallHandle"), "(absent)");
    send("orders", 0, "negative", property("TIMER_DELAY_SEC", -1));
    EXPECT_THAT(read("orders"), ElementsAre("past", "negative"));
}

TEST_F(TimersTest, RefusesWhatItCannotKeepWithASentence) {
    start();
    const auto refused = [&](std::string_view properties) {
        const Sent answer = send("orders", 0, "x", properties);
        EXPECT_EQ(answer.response(), ResponseCode::message_illegal);
        return answer.remark;
    };
    EXPECT_THAT(refused(property("TIMER_DELAY_SEC", "soon")), HasSubstr("TIMER_DELAY_SEC=\"soon\" is not a number"));
    EXPECT_THAT(refused(property("DELAY", "two")), HasSubstr("DELAY=\"two\""));
    EXPECT_THAT(refused(property("TIMER_DELAY_SEC", 11LL * 366 * 86'400)), HasSubstr("3653 days"));
    EXPECT_THAT(refused(property("TIMER_DELAY_SEC", INT64_MAX)), HasSubstr("3653 days"));
    EXPECT_THAT(refused(property("TIMER_DELIVER_MS", INT64_MAX)), HasSubstr("3653 days"));
    EXPECT_THAT(refused(property("TIMER_DELAY_MS", "99999999999999999999")), HasSubstr("not a number"));
    // No three-day limit.
    EXPECT_EQ(send("orders", 0, "x", property("TIMER_DELAY_SEC", 9LL * 365 * 86'400)).response(), ResponseCode::success);
    EXPECT_THAT(read("orders"), IsEmpty());
}

TEST_F(TimersTest, RefusesADelayedMessageInABatch) {
    start();
    std::string batch;
    const std::string plain = property("UNIQ_KEY", "A");
    const std::string delayed = property("TIMER_DELAY_SEC", 3);
    remoting::append_batch_entry(batch, {0, "a", plain});
    remoting::append_batch_entry(batch, {0, "b", delayed});
    auto header = send_header("orders", 0);
    header.batch = true;
    const Sent answer = ask(RequestCode::send_batch_message, header, batch);
    EXPECT_EQ(answer.response(), ResponseCode::message_illegal);
    EXPECT_THAT(answer.remark, HasSubstr("batch cannot be delayed"));
    EXPECT_THAT(read("orders"), IsEmpty());
}

TEST_F(TimersTest, RefusesMoreThanItMayKeep) {
    options.timers_max = 2;
    start();
    EXPECT_EQ(send("orders", 0, "1", property("DELAY", 1)).response(), ResponseCode::success);
    EXPECT_EQ(send("orders", 0, "2", property("DELAY", 1)).response(), ResponseCode::success);
    const Sent answer = send("orders", 0, "3", property("DELAY", 1));
    EXPECT_EQ(answer.response(), ResponseCode::system_busy);
    EXPECT_THAT(answer.remark, HasSubstr("2 delayed messages already"));
    pass(1s);
    EXPECT_EQ(send("orders", 0, "3", property("DELAY", 1)).response(), ResponseCode::success);
}

TEST_F(TimersTest, KeepsTheSendersPropertiesAndAddsWhatConsumersLookFor) {
    start();
    auto header = send_header("orders", 0, "");
    const std::string properties = property("TAGS", "paid") + property("KEYS", "k1") + property("UNIQ_KEY", "ABC") +
                                   property("TIMER_DELAY_MS", 50) + property("REAL_QID", 9);
    header.properties = properties;
    header.flag = 5;
    header.reconsume_times = 2;
    ask(RequestCode::send_message_v2, header, "body");
    const std::int64_t due = clock.now_ms + 50;
    pass(60ms);
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, 0, "paid"));
    ASSERT_THAT(bodies(pulled), ElementsAre("body"));
    const auto record = remoting::decode_record(std::as_bytes(std::span{pulled.body})).value();
    EXPECT_EQ(record.topic, "orders");
    EXPECT_EQ(record.queue_offset, 0);
    EXPECT_EQ(record.flag, 5);
    EXPECT_EQ(record.reconsume_times, 2);
    EXPECT_EQ(record.born_timestamp, 42);
    EXPECT_EQ(record.store_timestamp, clock.now_ms);
    const remoting::PropertiesView view{record.properties};
    EXPECT_EQ(view.get("UNIQ_KEY"), "ABC");
    EXPECT_EQ(view.get("KEYS"), "k1");
    EXPECT_EQ(view.get("TIMER_DELAY_MS"), "50");
    EXPECT_EQ(view.get("REAL_TOPIC"), "orders");
    EXPECT_EQ(view.get("REAL_QID"), "0");
    EXPECT_EQ(view.get("TIMER_OUT_MS"), std::to_string(due));
    EXPECT_EQ(view.get("TIMER_ENQUEUE_MS"), std::to_string(due - 50));
    EXPECT_EQ(view.get("TIMER_DEQUEUE_MS"), std::to_string(clock.now_ms));
}

TEST_F(TimersTest, DelaysRetriesButNotDeadLetters) {
    start();
    send("%RETRY%stock", 0, "again", property("DELAY", 3));
    send("%DLQ%stock", 0, "dead", property("DELAY", 3));
    EXPECT_THAT(read("%RETRY%stock"), IsEmpty());
    EXPECT_THAT(read("%DLQ%stock"), ElementsAre("dead"));
    pass(10s);
    EXPECT_THAT(read("%RETRY%stock"), ElementsAre("again"));
}

TEST_F(TimersTest, WakesAWaitingPull) {
    start();
    send("orders", 0, "later", property("DELAY", 1));
    request(client, RequestCode::pull_message, 9, pull_header("orders", 0, 0));
    EXPECT_THAT(take(client), IsEmpty());
    pass(1s);
    EXPECT_THAT(bodies(take_one(client)), ElementsAre("later"));
}

TEST_F(TimersTest, TellsWhenItWantsToBeCalled) {
    start();
    EXPECT_FALSE(dispatcher->next_tick());
    send("orders", 0, "later", property("TIMER_DELAY_MS", 300));
    work();
    EXPECT_EQ(dispatcher->next_tick(), now() + 300ms);
    send("orders", 0, "sooner", property("TIMER_DELAY_MS", 200));
    work();
    EXPECT_EQ(dispatcher->next_tick(), now() + 200ms);
    pass(300ms);
    EXPECT_THAT(read("orders"), ElementsAre("sooner", "later"));
    EXPECT_FALSE(dispatcher->next_tick());
}

TEST_F(TimersTest, SurvivesARestartAndDeliversNothingTwice) {
    start();
    for (int i = 0; i < 5; ++i) send("orders", 0, std::to_string(i), property("TIMER_DELAY_SEC", 10 + i));
    pass(12s);
    EXPECT_THAT(read("orders"), ElementsAre("0", "1", "2"));
    restart();
    work();
    EXPECT_THAT(read("orders"), ElementsAre("0", "1", "2"));
    pass(1s);
    EXPECT_THAT(read("orders"), ElementsAre("0", "1", "2", "3"));
    clock.now_ms += 60'000;
    restart();
    work();
    EXPECT_THAT(read("orders"), ElementsAre("0", "1", "2", "3", "4"));
}

TEST_F(TimersTest, DeliversInTheOrderOfTheirTimes) {
    start();
    send("orders", 0, "c", property("TIMER_DELAY_MS", 30));
    send("orders", 0, "a", property("TIMER_DELAY_MS", 10));
    send("orders", 0, "d", property("TIMER_DELAY_MS", 30));
    send("orders", 0, "b", property("TIMER_DELAY_MS", 20));
    pass(1min);
    EXPECT_THAT(read("orders"), ElementsAre("a", "b", "c", "d"));
}

TEST_F(TimersTest, DeliversMoreThanOneSliceAndLetsOthersInBetween) {
    start();
    constexpr int count = 1'000;
    for (int i = 0; i < count; ++i)
        send("orders", i % 4, std::to_string(i), property("TIMER_DELIVER_MS", 1'700'000'500'000));
    clock.now_ms = 1'700'000'500'000;
    dispatcher->tick(now());
    EXPECT_LE(*dispatcher->next_tick(), now());  // there is more
    EXPECT_EQ(send("other", 0, "in between").response(), ResponseCode::success);
    EXPECT_LT(read("orders", 0).size(), count / 4);
    work();
    for (int queue = 0; queue < 4; ++queue) {
        const auto texts = read("orders", queue);
        ASSERT_EQ(texts.size(), count / 4);
        EXPECT_EQ(texts.front(), std::to_string(queue));
        EXPECT_EQ(texts.back(), std::to_string(count - 4 + queue));
    }
}

// Recalls.

TEST_F(TimersTest, ARecalledMessageIsNeverDelivered) {
    start();
    const Sent sent = send("orders", 0, "no", property("UNIQ_KEY", "K1") + property("TIMER_DELAY_SEC", 10));
    send("orders", 0, "yes", property("TIMER_DELAY_SEC", 10));
    const std::string handle = sent.field("recallHandle");
    request(client, RequestCode::recall_message, 4, RecallRequest{"orders", handle});
    EXPECT_THAT(take(client), IsEmpty()) << "answered before it was durable";
    settle_log();
    const Sent answer = take_one(client);
    EXPECT_EQ(answer.response(), ResponseCode::success);
    EXPECT_EQ(answer.field("msgId"), "K1");
    EXPECT_EQ(recall("orders", handle).response(), ResponseCode::success) << "twice is harmless";
    restart();
    EXPECT_EQ(recall("orders", handle).response(), ResponseCode::success);
    pass(10s);
    EXPECT_THAT(read("orders"), ElementsAre("yes"));
    restart();
    pass(10s);
    EXPECT_THAT(read("orders"), ElementsAre("yes"));
}

TEST_F(TimersTest, AHandleIsRocketmqsAndFindsItsMessageByKeyAlone) {
    start();
    const Sent sent = send("orders", 0, "no", property("UNIQ_KEY", "K1") + property("TIMER_DELAY_SEC", 10));
    const auto handle = RecallHandle::parse(sent.field("recallHandle")).value();
    EXPECT_EQ(handle.topic, "orders");
    EXPECT_EQ(handle.broker_name, "hufu");
    EXPECT_EQ(handle.deliver_ms, clock.now_ms + 10'000);
    EXPECT_EQ(handle.unique_key, "K1");
    EXPECT_EQ(recall("orders", RecallHandle{"orders", "hufu", clock.now_ms + 10'000, "K1", {}}.encode()).response(),
              ResponseCode::success);
    pass(10s);
    EXPECT_THAT(read("orders"), IsEmpty());
}

TEST_F(TimersTest, SaysWhyAMessageCannotBeRecalled) {
    start();
    const Sent sent = send("orders", 0, "once", property("UNIQ_KEY", "K1") + property("TIMER_DELAY_SEC", 10));
    const std::string handle = sent.field("recallHandle");
    const auto refused = [&](std::string_view topic, const std::string& text) {
        const Sent answer = recall(topic, text);
        EXPECT_EQ(answer.response(), ResponseCode::illegal_operation);
        return answer.remark;
    };
    EXPECT_THAT(refused("orders", "no handle!"), HasSubstr("not base64"));
    EXPECT_THAT(refused("orders", "djIgYQ"), HasSubstr("v1 topic broker time key"));
    EXPECT_THAT(refused("orders", std::string(5'000, 'A')), HasSubstr("5000 characters"));
    EXPECT_THAT(refused("others", handle), HasSubstr("of topic \"orders\", not \"others\""));
    EXPECT_THAT(refused("orders", RecallHandle{"orders", "else", 1, "K1", {}}.encode()), HasSubstr("broker \"else\""));
    EXPECT_THAT(refused("orders", RecallHandle{"orders", "hufu", clock.now_ms + 10'000, "K2", 0}.encode()),
                HasSubstr("\"K2\" waits for topic \"orders\" on this broker"));
    pass(10s);
    EXPECT_THAT(refused("orders", handle), HasSubstr("was delivered"));
    EXPECT_THAT(read("orders"), ElementsAre("once"));
}

// Steps of the wall clock.

TEST_F(TimersTest, AStepBackNeitherRepeatsNorHoldsBack) {
    start();
    send("orders", 0, "before", property("TIMER_DELAY_SEC", 10));
    send("orders", 0, "pending", property("TIMER_DELAY_SEC", 20));
    pass(10s);
    EXPECT_THAT(read("orders"), ElementsAre("before"));
    clock.wall_shift_ms -= 3'600'000;
    send("orders", 0, "after", property("TIMER_DELAY_SEC", 5));
    pass(4'999ms);
    EXPECT_THAT(read("orders"), ElementsAre("before"));
    pass(1ms);
    EXPECT_THAT(read("orders"), ElementsAre("before", "after"));
    restart();
    work();
    EXPECT_THAT(read("orders"), ElementsAre("before", "after")) << "nothing is repeated after a restart";
    const Sent later = send("orders", 0, "later", property("TIMER_DELAY_SEC", 7));
    EXPECT_EQ(later.response(), ResponseCode::success) << later.remark;
    restart();
    pass(7s);
    EXPECT_THAT(read("orders"), ElementsAre("before", "after", "later"));
    pass(1h);
    EXPECT_THAT(read("orders"), ElementsAre("before", "after", "later", "pending"));
}

TEST_F(TimersTest, ManySmallStepsBackLoseNothing) {
    start();
    for (int i = 0; i < 100; ++i) {
        send("orders", 0, std::to_string(i), property("TIMER_DELAY_MS", 100));
        pass(100ms);
        clock.wall_shift_ms -= 150;
    }
    pass(10s);  // the steps took five seconds in all
    EXPECT_EQ(read("orders").size(), 100U);
}

TEST_F(TimersTest, AStepForwardDeliversWhatItPassed) {
    start();
    send("orders", 0, "early", property("TIMER_DELAY_SEC", 3'000));
    clock.wall_shift_ms += 3'600'000;
    pass(1s);
    EXPECT_THAT(read("orders"), ElementsAre("early"));
}

// What can go wrong meanwhile.

TEST_F(TimersTest, AMessageWhoseTopicWasDeletedGoesToTheDeadLetters) {
    start();
    send("orders", 3, "orphan", property("TIMER_DELAY_SEC", 1));
    ASSERT_TRUE(log->erase_state("topic/orders"));
    settle_log();
    restart();
    pass(1s);
    EXPECT_THAT(read("%DLQ%rmq_sys_timer"), ElementsAre("orphan"));
    EXPECT_EQ(remoting::PropertiesView{properties_of("%DLQ%rmq_sys_timer")}.get("DLQ_ORIGIN_TOPIC"), "orders");
    EXPECT_THAT(dispatcher->take_alarms(), ::testing::Contains(HasSubstr("\"orders\"; they are in topic")));
    EXPECT_THAT(metrics.text(), HasSubstr("hufu_broker_timers_astray_total 1"));
}

TEST_F(TimersTest, WaitsWhileTheLogRefusesAndDeliversOnceAfterwards) {
    start();
    for (int i = 0; i < 20; ++i) send("orders", 0, std::to_string(i), property("TIMER_DELAY_SEC", 1));
    disk.fail_nth(simulation::DiskCall::sync, 1);
    clock.now_ms += 1'000;
    dispatcher->tick(now());
    for (int i = 0; i < 50; ++i) {
        settle_log();
        advance(100ms);
    }
    work();
    EXPECT_EQ(read("orders").size(), 20U);
    restart();
    work();
    EXPECT_EQ(read("orders").size(), 20U);
}

TEST_F(TimersTest, CountsWhatItDoes) {
    start();
    send("orders", 0, "a", property("TIMER_DELAY_SEC", 1));
    const Sent sent = send("orders", 0, "b", property("TIMER_DELAY_SEC", 2));
    send("orders", 0, "c", property("TIMER_DELAY_SEC", 3));
    recall("orders", sent.field("recallHandle"));
    pass(1500ms);
    const std::string text = metrics.text();
    EXPECT_THAT(text, HasSubstr("hufu_broker_timers_pending 1"));
    EXPECT_THAT(text, HasSubstr("hufu_broker_timers_accepted_total 3"));
    EXPECT_THAT(text, HasSubstr("hufu_broker_timers_delivered_total 1"));
    EXPECT_THAT(text, HasSubstr("hufu_broker_timers_recalled_total 1"));
    EXPECT_THAT(text, HasSubstr("hufu_broker_timer_lateness_seconds_bucket{le=\"0.5\"} 1"));
}

TEST_F(TimersTest, HidesItsOwnQueuesFromClients) {
    start();
    send("orders", 0, "later", property("DELAY", 1));
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("rmq_sys_wheel_timer", 0, 0)).response(),
              ResponseCode::invalid_parameter);
    const Sent answer = send("rmq_sys_wheel_timer", 0, "forged");
    EXPECT_EQ(answer.response(), ResponseCode::invalid_parameter);
    EXPECT_THAT(answer.remark, HasSubstr("broker's own"));
}

}  // namespace
}  // namespace hufu::broker::testing
