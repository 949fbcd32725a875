#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/adaptive_rate.hpp>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class Adaptive : public ::testing::Test {
protected:
    static AdaptiveRateOptions options() {
        return {.max_per_second = 1000, .min_per_second = 10, .target_latency = 50ms, .increase = 0.1, .decrease = 0.5};
    }
    /// One second of work at `share` of the allowed rate.
    void second(std::chrono::milliseconds latency, double failed_share = 0, double share = 1) {
        const auto calls = std::max(1, static_cast<int>(rate.per_second() * share));
        for (int call = 1; call <= calls; ++call) {
            now += 1'000'000'000ns / calls;
            static_cast<void>(rate.answered(1, latency, call <= failed_share * calls, now));
        }
        now += 1us;  // what rounding took
    }

    AdaptiveRate rate{options()};
    SteadyTime now{1h};
};

TEST_F(Adaptive, StartsSlowAndFillsTheValley) {
    EXPECT_EQ(rate.per_second(), 10);
    for (int i = 0; i < 15; ++i) second(5ms);
    EXPECT_EQ(rate.per_second(), 1000);
}

TEST_F(Adaptive, FallsWhileHandlersAreSlowAndComesBack) {
    for (int i = 0; i < 15; ++i) second(5ms);
    second(200ms);
    second(200ms);
    EXPECT_LE(rate.per_second(), 500);
    for (int i = 0; i < 20; ++i) second(200ms);
    EXPECT_EQ(rate.per_second(), 10) << "never below the minimum";
    for (int i = 0; i < 15; ++i) second(5ms);
    EXPECT_EQ(rate.per_second(), 1000);
}

TEST_F(Adaptive, FallsWhenHandlersFail) {
    for (int i = 0; i < 15; ++i) second(5ms);
    second(5ms, 0.05);
    EXPECT_EQ(rate.per_second(), 1000) << "one of twenty is nothing";
    second(5ms, 0.5);
    second(5ms, 0.5);
    EXPECT_LT(rate.per_second(), 1000);
}

TEST_F(Adaptive, DoesNotClimbOnARateThatIsNotUsed) {
    for (int i = 0; i < 3; ++i) second(5ms);
    const double before = rate.per_second();
    for (int i = 0; i < 10; ++i) second(5ms, 0, 0.3);
    EXPECT_EQ(rate.per_second(), before);
}

TEST_F(Adaptive, SettlesWhereTheHandlersBecomeSlow) {
    // A database that does 400 a second in time, and queues above that.
    for (int i = 0; i < 200; ++i) second(rate.per_second() > 400 ? 300ms : 10ms);
    double sum = 0;
    for (int i = 0; i < 50; ++i) {
        second(rate.per_second() > 400 ? 300ms : 10ms);
        sum += rate.per_second();
        EXPECT_LE(rate.per_second(), 500);
    }
    EXPECT_GT(sum / 50, 200);
}

TEST(AdaptiveRules, NameOptionAndValue) {
    const auto text = [](AdaptiveRateOptions options) { return validate(options).error().text(); };
    EXPECT_THAT(text({.max_per_second = -1}), HasSubstr("max_per_second is -1"));
    EXPECT_THAT(text({.max_per_second = 5, .min_per_second = 6}), HasSubstr("min_per_second is 6"));
    EXPECT_THAT(text({.max_per_second = 5, .decrease = 1}), HasSubstr("decrease is 1"));
    EXPECT_TRUE(validate(AdaptiveRateOptions{}).has_value());
    EXPECT_TRUE(validate(AdaptiveRateOptions{.max_per_second = 100}).has_value());
}

}  // namespace
}  // namespace hufu
