#include <gtest/gtest.h>

#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/core/token_bucket.hpp>

#include <algorithm>
#include <array>

namespace hufu {
namespace {

using namespace std::chrono_literals;

TEST(RetrySchedule, WalksTheLadderToItsEnd) {
    SeededRandom random{1};
    const auto ladder = RetrySchedule::ladder({1s, 5s});
    EXPECT_EQ(ladder.attempts_max(), 3u);
    EXPECT_EQ(ladder.wait_after(1, random), 1s);
    EXPECT_EQ(ladder.wait_after(2, random), 5s);
    EXPECT_EQ(ladder.wait_after(3, random), std::nullopt);
    EXPECT_EQ(ladder.wait_after(4'000'000'000, random), std::nullopt);
    EXPECT_EQ(RetrySchedule::ladder({}).wait_after(1, random), std::nullopt);
}

TEST(RetrySchedule, TheDefaultLadderIsSixteenStepsFromTenSecondsToTwoHours) {
    SeededRandom random{1};
    const auto ladder = RetrySchedule::default_ladder();
    EXPECT_EQ(ladder.attempts_max(), 17u);
    EXPECT_EQ(ladder.wait_after(1, random), 10s);
    EXPECT_EQ(ladder.wait_after(16, random), 2h);
    EXPECT_EQ(ladder.wait_after(17, random), std::nullopt);
}

TEST(RetrySchedule, DoublesUpToItsCapAndNeverEndsUnlessTold) {
    SeededRandom random{1};
    const auto endless = RetrySchedule::capped(100ms, 1s);
    EXPECT_EQ(endless.attempts_max(), 0u);
    EXPECT_EQ(endless.wait_after(1, random), 100ms);
    EXPECT_EQ(endless.wait_after(4, random), 800ms);
    EXPECT_EQ(endless.wait_after(5, random), 1s);
    EXPECT_EQ(endless.wait_after(4'000'000'000, random), 1s);
    const auto three = RetrySchedule::capped(100ms, 1s, 3);
    EXPECT_EQ(three.wait_after(2, random), 200ms);
    EXPECT_EQ(three.wait_after(3, random), std::nullopt);
}

TEST(RetrySchedule, SpreadsByJitterWithinItsFraction) {
    SeededRandom random{1};
    const auto schedule = RetrySchedule::capped(1s, 1s).jitter(0.25);
    auto least = 1'000ms;
    auto most = 0ms;
    for (int count = 0; count < 10'000; ++count) {
        const auto wait = *schedule.wait_after(1, random);
        least = std::min(least, wait);
        most = std::max(most, wait);
    }
    EXPECT_EQ(least, 750ms);
    EXPECT_EQ(most, 1'000ms);
}

TEST(SeededRandom, RepeatsWithItsSeedAndStaysBelowItsBound) {
    SeededRandom one{42};
    SeededRandom same{42};
    SeededRandom other{43};
    EXPECT_EQ(one.next(), same.next());
    EXPECT_NE(one.next(), other.next());
    std::array<int, 3> seen{};
    for (int count = 0; count < 30'000; ++count) ++seen.at(one.below(3));
    for (const int times : seen) EXPECT_NEAR(times, 10'000, 500);
    EXPECT_EQ(one.below(1), 0u);
    EXPECT_NE(system_random().next(), system_random().next());
}

TEST(TokenBucket, AllowsItsBurstThenItsRate) {
    TokenBucket bucket{10, 3};
    SteadyTime now{1h};
    for (int token = 0; token < 3; ++token) EXPECT_TRUE(bucket.take(now));
    EXPECT_FALSE(bucket.take(now));
    EXPECT_EQ(bucket.ready_at(now), now + 100ms);
    EXPECT_FALSE(bucket.take(now + 99ms));
    EXPECT_TRUE(bucket.take(now + 100ms));
    EXPECT_FALSE(bucket.take(now + 100ms));
    now += 1h;  // a long pause gives the burst again, not more
    int taken = 0;
    while (bucket.take(now)) ++taken;
    EXPECT_EQ(taken, 3);
}

TEST(TokenBucket, WithoutARateNeverRefuses) {
    TokenBucket bucket{0, 1};
    for (int token = 0; token < 1'000; ++token) EXPECT_TRUE(bucket.take(SteadyTime{}));
    EXPECT_EQ(bucket.ready_at(SteadyTime{5s}), SteadyTime{5s});
}

}  // namespace
}  // namespace hufu
