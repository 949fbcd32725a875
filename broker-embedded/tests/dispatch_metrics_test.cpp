// Figures of topics and groups as /metrics shows them.
#include <gmock/gmock.h>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public DispatchTest {
protected:
    std::string scrape() {
        std::string text;
        dispatcher->append_metrics(text);
        return text;
    }
    void commit(std::string_view group, std::string_view topic, std::int64_t offset) {
        remoting::UpdateOffsetRequest header;
        header.consumer_group = group;
        header.topic = topic;
        header.commit_offset = offset;
        ASSERT_EQ(ask(RequestCode::update_consumer_offset, header).response(), ResponseCode::success);
    }
};

TEST_F(MetricsTest, SaysHowFarAGroupIsBehindAndForHowLong) {
    start();
    for (int i = 0; i < 5; ++i) {
        send("orders", 0, "x");
        clock.now_ms += 1000;
    }
    commit("billing", "orders", 2);
    clock.now_ms += 500;
    std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_lag_messages{group=\"billing\",topic=\"orders\"} 3\n"));
    // The third message was stored 3.5 s ago.
    EXPECT_THAT(text,
                HasSubstr("\nhufu_broker_group_oldest_unconsumed_seconds{group=\"billing\",topic=\"orders\"} 3.500000\n"));
    commit("billing", "orders", 4);
    text = scrape();
    EXPECT_THAT(text,
                HasSubstr("\nhufu_broker_group_oldest_unconsumed_seconds{group=\"billing\",topic=\"orders\"} 1.500000\n"));
    commit("billing", "orders", 5);
    text = scrape();
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_lag_messages{group=\"billing\",topic=\"orders\"} 0\n"));
    EXPECT_THAT(text,
                HasSubstr("\nhufu_broker_group_oldest_unconsumed_seconds{group=\"billing\",topic=\"orders\"} 0.000000\n"));
}

TEST_F(MetricsTest, CountsWhatGoesInAndOutOfATopic) {
    start();
    send("orders", 0, "first");
    send("orders", 1, "second");
    const Sent pulled = ask(RequestCode::pull_message, pull_header("orders", 0, 0));
    const std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_topic_messages_total{topic=\"orders\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_pulled_messages_total{group=\"consumers\",topic=\"orders\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_pulled_bytes_total{group=\"consumers\",topic=\"orders\"} " +
                                std::to_string(pulled.body.size()) + "\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_topic_sent_bytes_total{topic=\"orders\"} " +
                                std::to_string(metrics.counter("hufu_broker_stored_bytes_total", "").value()) + "\n"));
}

TEST_F(MetricsTest, CountsRetriesDeadLettersAndRefusals) {
    start();
    send("%RETRY%billing", 0, "again");
    send("%RETRY%billing", 0, "again");
    send("%DLQ%billing", 0, "never");
    EXPECT_EQ(ask(RequestCode::pull_message, pull_header("missing", 0, 0)).response(), ResponseCode::topic_not_exist);
    const std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_retries_total{group=\"billing\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_dead_letters_total{group=\"billing\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_refusals_total{code=\"17\"} 1\n"));
    EXPECT_THAT(text, Not(HasSubstr("topic=\"%")));
}

TEST_F(MetricsTest, SumsUpWhatIsTooManyToName) {
    options.metric_series_max = 2;
    start();
    for (const auto* topic : {"a", "b", "c", "d"}) {
        send(topic, 0, "x");
        ask(RequestCode::pull_message, pull_header(topic, 0, 0));
        commit("billing", topic, 0);
    }
    static_cast<void>(dispatcher->take_alarms());
    const std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_topic_messages_total{topic=\"b\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_topic_messages_total{topic=\"(other)\"} 2\n"));
    EXPECT_THAT(text, Not(HasSubstr("topic=\"c\"")));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_lag_messages{group=\"(other)\",topic=\"(other)\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("\nhufu_broker_group_pulled_messages_total{group=\"(other)\",topic=\"(other)\"} 2\n"));
    scrape();
    EXPECT_THAT(dispatcher->take_alarms(),
                ElementsAre("there are more than 2 topics or groups; /metrics shows the rest as \"(other)\" "
                            "(--metrics-series shows more)"));
}

TEST_F(MetricsTest, GoesOnOverARestartWhereOffsetsDo) {
    start();
    send("orders", 0, "x");
    restart();
    send("orders", 0, "y");
    EXPECT_THAT(scrape(), HasSubstr("\nhufu_broker_topic_messages_total{topic=\"orders\"} 2\n"));
    EXPECT_THAT(scrape(), HasSubstr("\nhufu_broker_recovery_epoch 2\n"));
}

}  // namespace
}  // namespace hufu::broker::testing
