#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/outage_detector.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class Outage : public ::testing::Test {
protected:
    static OutageOptions options() {
        return {.attempts = 10, .failed_share = 0.9, .keys_min = 3, .window = 60s, .probe = RetrySchedule::ladder({1s, 2s})};
    }
    /// How many failures it takes, each of the next key.
    int failures_until_on(std::size_t keys, std::chrono::milliseconds apart) {
        for (int count = 1; count <= 100; ++count) {
            if (detector.answered(static_cast<std::size_t>(count) % keys, true, now)) return count;
            now += apart;
        }
        return 0;
    }

    SeededRandom random{1};
    OutageDetector detector{options(), random};
    SteadyTime now{1h};
};

TEST_F(Outage, BeginsWhenTheLatestAnswersAreFailuresOfManyKeys) {
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(detector.answered(1, false, now));
    EXPECT_EQ(failures_until_on(5, 1ms), 9) << "nine of the latest ten";
    EXPECT_TRUE(detector.on());
    EXPECT_EQ(detector.probe_at(), now + 1s);
}

TEST_F(Outage, NeedsEnoughAnswers) { EXPECT_EQ(failures_until_on(5, 1ms), 10); }

TEST_F(Outage, IsNotAFewPoisonousKeys) { EXPECT_EQ(failures_until_on(2, 1ms), 0); }

TEST_F(Outage, IsNotAFailureHereAndThere) {
    for (std::size_t i = 0; i < 200; ++i) EXPECT_FALSE(detector.answered(i, i % 5 != 0, now)) << "four of five fail";
}

TEST_F(Outage, ForgetsOldAnswers) { EXPECT_EQ(failures_until_on(5, 10s), 0) << "never ten within a minute"; }

TEST_F(Outage, ProbesOnItsScheduleAndEndsWithTheFirstAnswer) {
    ASSERT_GT(failures_until_on(5, 1ms), 0);
    const auto began = *detector.since();
    for (const auto wait : {2s, 2s, 2s}) {
        detector.probe_started();
        EXPECT_EQ(detector.probe_at(), std::nullopt);
        EXPECT_FALSE(detector.probe_answered(true, now));
        EXPECT_EQ(detector.probe_at(), now + wait) << "an exhausted schedule keeps its last wait";
        now += wait;
    }
    EXPECT_EQ(detector.since(), began);
    detector.probe_started();
    EXPECT_TRUE(detector.probe_answered(false, now));
    EXPECT_FALSE(detector.on());
    EXPECT_EQ(failures_until_on(5, 1ms), 10) << "and begins with a clean sheet";
}

TEST_F(Outage, KnowsSinceWhenThingsFailed) {
    const auto first = now;
    ASSERT_EQ(failures_until_on(5, 1ms), 10);
    EXPECT_EQ(detector.evidence_from(), first);
}

TEST_F(Outage, CanBeSwitchedOff) {
    OutageDetector off{{.attempts = 0}, random};
    for (std::size_t key = 0; key < 100; ++key) EXPECT_FALSE(off.answered(key, true, now));
    EXPECT_FALSE(off.on());
}

TEST(OutageRules, NameOptionAndValue) {
    const auto text = [](OutageOptions options) { return validate(options).error().text(); };
    EXPECT_THAT(text({.failed_share = 0}), HasSubstr("OutageOptions::failed_share is 0"));
    EXPECT_THAT(text({.attempts = 5, .keys_min = 6}), HasSubstr("keys_min is 6"));
    EXPECT_THAT(text({.window = 0ms}), HasSubstr("window"));
    EXPECT_TRUE(validate(OutageOptions{}).has_value());
}

}  // namespace
}  // namespace hufu
