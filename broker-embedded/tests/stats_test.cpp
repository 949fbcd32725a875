#include <gtest/gtest.h>

#include "dispatch/stats.hpp"

namespace hufu::broker {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime start{1000h};

TEST(Meter, CountsNothingAtFirst) {
    Meter meter;
    EXPECT_EQ(meter.minute(start).count.messages, 0U);
    EXPECT_EQ(meter.minute(start).messages_per_second(), 0.0);
}

TEST(Meter, ForgetsByTheBucket) {
    Meter meter;
    meter.add(start, {10, 1000, 2});
    EXPECT_EQ(meter.minute(start + 5s).count.messages, 10U);
    EXPECT_EQ(meter.minute(start + 5s).messages_per_second(), 2.0);
    EXPECT_EQ(meter.minute(start + 5s).bytes_per_second(), 200.0);
    meter.add(start + 30s, {5, 1, 1});
    EXPECT_EQ(meter.minute(start + 69s).count.messages, 15U);
    EXPECT_EQ(meter.minute(start + 70s).count.messages, 5U);
    EXPECT_EQ(meter.minute(start + 100s).count.messages, 0U);
    EXPECT_EQ(meter.hour(start + 100s).count.messages, 15U);
    EXPECT_EQ(meter.hour(start + 70min).count.messages, 0U);
    EXPECT_EQ(meter.day(start + 70min).count.messages, 15U);
    EXPECT_EQ(meter.day(start + 25h).count.messages, 0U);
    EXPECT_EQ(meter.total().messages, 15U);
    EXPECT_EQ(meter.total().requests, 3U);
}

TEST(Meter, DividesByTheTimeTheWindowCovers) {
    Meter meter;
    for (int second = 0; second < 600; ++second) meter.add(start + std::chrono::seconds{second}, {7, 0, 1});
    const SteadyTime now = start + 600s;
    EXPECT_NEAR(meter.minute(now).messages_per_second(), 7.0, 0.2);
    EXPECT_NEAR(meter.ten_seconds(now).messages_per_second(), 7.0, 0.2);
    EXPECT_NEAR(meter.hour(now).messages_per_second(), 7.0, 0.2);
    EXPECT_NEAR(meter.ten_minutes(now).messages_per_second(), 7.0, 0.2);
}

TEST(BrokerStats, CountsByTopicAndGroup) {
    BrokerStats stats;
    stats.watch_queue(QueueHandle{3}, "orders");
    stats.put(QueueHandle{3}, start, {2, 100, 1});
    stats.put(QueueHandle{9}, start, {1, 1, 1});  // a hidden queue
    const auto reading = stats.reading("billing", "orders");
    stats.got(reading.get(), start, {1, 50, 1});
    stats.sent_back("billing", "orders", start);
    EXPECT_EQ(stats.topic_puts("orders")->total().messages, 2U);
    EXPECT_EQ(stats.puts().total().messages, 2U);
    EXPECT_EQ(stats.group_gets("billing", "orders")->total().bytes, 50U);
    EXPECT_EQ(stats.group_sent_back("billing", "orders")->total().messages, 1U);
    EXPECT_EQ(stats.group_gets("other", "orders"), nullptr);
    EXPECT_EQ(stats.topic_puts("other"), nullptr);
    EXPECT_EQ(stats.reading("billing", "other"), nullptr);
}

TEST(BrokerStats, ForgetsATopic) {
    BrokerStats stats;
    stats.watch_queue(QueueHandle{0}, "orders");
    stats.put(QueueHandle{0}, start, {1, 1, 1});
    const auto reading = stats.reading("billing", "orders");
    stats.forget_topic("orders");
    stats.put(QueueHandle{0}, start, {1, 1, 1});
    stats.got(reading.get(), start, {1, 1, 1});  // whoever kept it may go on
    EXPECT_EQ(stats.topic_puts("orders"), nullptr);
    stats.watch_queue(QueueHandle{0}, "orders");
    EXPECT_EQ(stats.topic_puts("orders"), nullptr);
    EXPECT_EQ(stats.puts().total().messages, 1U);
}

TEST(BrokerStats, KnowsTheTotalsAtMidnight) {
    BrokerStats stats;
    stats.watch_queue(QueueHandle{0}, "orders");
    const SystemTime noon{std::chrono::hours{24 * 20'000 + 12}};
    const auto put = [&](SystemTime at) {
        stats.note_day(at);
        stats.put(QueueHandle{0}, start, {1, 1, 1});
    };
    put(noon);
    EXPECT_EQ(stats.mornings(noon).put_today, 0U);
    put(noon + 24h);
    EXPECT_EQ(stats.mornings(noon + 24h).put_today, 1U);
    EXPECT_EQ(stats.mornings(noon + 24h).put_yesterday, 0U);
    EXPECT_EQ(stats.mornings(noon + 48h).put_today, 2U);
    EXPECT_EQ(stats.mornings(noon + 48h).put_yesterday, 1U);
    EXPECT_EQ(stats.mornings(noon + 96h).put_yesterday, 2U);
}

}  // namespace
}  // namespace hufu::broker
