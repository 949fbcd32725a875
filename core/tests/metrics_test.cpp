#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/metrics.hpp>

#include <thread>

namespace hufu {
namespace {

TEST(Metrics, WritePrometheusText) {
    MetricsRegistry registry;
    registry.counter("hufu_relay_published_total", "Messages confirmed.", {{"lane", "default"}}).add(3);
    registry.counter("hufu_relay_published_total", "Messages confirmed.", {{"lane", "a\"b\\c\nd"}}).add();
    registry.gauge("hufu_held", "Messages in memory.").set(-2);
    auto& seconds = registry.histogram("hufu_sync_seconds", "Time of a sync.", {0.001, 0.5}, {{"disk", "0"}});
    seconds.observe(0.001);
    seconds.observe(0.25);
    seconds.observe(7);
    EXPECT_EQ(registry.text(),
              "# HELP hufu_held Messages in memory.\n"
              "# TYPE hufu_held gauge\n"
              "hufu_held -2\n"
              "# HELP hufu_relay_published_total Messages confirmed.\n"
              "# TYPE hufu_relay_published_total counter\n"
              "hufu_relay_published_total{lane=\"a\\\"b\\\\c\\nd\"} 1\n"
              "hufu_relay_published_total{lane=\"default\"} 3\n"
              "# HELP hufu_sync_seconds Time of a sync.\n"
              "# TYPE hufu_sync_seconds histogram\n"
              "hufu_sync_seconds_bucket{disk=\"0\",le=\"0.001\"} 1\n"
              "hufu_sync_seconds_bucket{disk=\"0\",le=\"0.5\"} 2\n"
              "hufu_sync_seconds_bucket{disk=\"0\",le=\"+Inf\"} 3\n"
              "hufu_sync_seconds_sum{disk=\"0\"} 7.251\n"
              "hufu_sync_seconds_count{disk=\"0\"} 3\n");
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameObject) {
    MetricsRegistry registry;
    auto& one = registry.counter("a_total", "A.", {{"x", "1"}});
    EXPECT_EQ(&one, &registry.counter("a_total", "A.", {{"x", "1"}}));
    EXPECT_NE(&one, &registry.counter("a_total", "A.", {{"x", "2"}}));
}

TEST(Metrics, CountFromManyThreads) {
    MetricsRegistry registry;
    {
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < 4; ++thread) {
            threads.emplace_back([&] {
                for (int count = 0; count < 10'000; ++count) {
                    registry.counter("a_total", "A.").add();
                    registry.histogram("b_seconds", "B.", {1}).observe(0.5);
                }
            });
        }
    }
    EXPECT_EQ(registry.counter("a_total", "A.").value(), 40'000u);
    EXPECT_EQ(registry.histogram("b_seconds", "B.", {1}).count(), 40'000u);
    EXPECT_EQ(registry.histogram("b_seconds", "B.", {1}).sum(), 20'000.0);
}

TEST(MetricsDeathTest, ANameUsedForTwoKindsIsABug) {
    MetricsRegistry registry;
    registry.counter("a_total", "A.", {{"x", "1"}});
    EXPECT_DEATH(registry.gauge("a_total", "A."), "assertion failed");
}

}  // namespace
}  // namespace hufu
