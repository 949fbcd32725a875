#include <gtest/gtest.h>

#include <hufu/core/assert.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/testing/fake_clock.hpp>

#include <set>
#include <string>
#include <thread>

namespace hufu {
namespace {

using namespace std::chrono_literals;

Result<int> half_of(int number) {
    if (number % 2 != 0) return Error{ErrorCode::invalid_argument, Disposition::reject, std::to_string(number) + " is odd"};
    return number / 2;
}

TEST(Result, HoldsAValueOrAnErrorAndThrowsForThoseWhoLikeThat) {
    EXPECT_EQ(half_of(4).value(), 2);
    const auto odd = half_of(3);
    EXPECT_EQ(odd.error().code(), ErrorCode::invalid_argument);
    try {
        (void)half_of(3).value();
        FAIL();
    } catch (const Exception& failure) {
        EXPECT_STREQ(failure.what(), "3 is odd");
        EXPECT_EQ(failure.error().disposition(), Disposition::reject);
    }
}

TEST(Error, NamesEveryCodeAndDisposition) {
    std::set<std::string_view> names;
    for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code)
        names.insert(to_string(static_cast<ErrorCode>(code)));
    EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorCode::internal) + 1);
    EXPECT_FALSE(names.contains("unknown"));
    EXPECT_EQ(to_string(Disposition::in_doubt), "in_doubt");
}

TEST(AssertDeathTest, StopsTheProcessAndNamesThePlace) {
    EXPECT_DEATH(HUFU_ASSERT(1 > 2), "error_test.cpp:[0-9]+: assertion failed: 1 > 2");
}

TEST(SystemClock, SleepsUntilAStopIsAskedFor) {
    Clock& clock = system_clock();
    clock.sleep_until(clock.steady_now() - 1s, std::stop_token{});
    std::jthread sleeper{[&](std::stop_token stop) { clock.sleep_until(clock.steady_now() + 1h, stop); }};
    sleeper.request_stop();
    sleeper.join();
    const auto before = clock.steady_now();
    clock.sleep_until(before + 1ms, std::stop_token{});
    EXPECT_GE(clock.steady_now(), before + 1ms);
}

TEST(FakeClock, MovesOnlyWhenTold) {
    testing::FakeClock clock;
    const auto steady = clock.steady_now();
    const auto wall = clock.system_now();
    std::jthread sleeper{[&](std::stop_token stop) { clock.sleep_until(steady + 1500ns, stop); }};
    clock.wait_for_sleepers(1);
    clock.advance(1us);
    clock.advance(500ns);
    sleeper.join();
    EXPECT_EQ(clock.steady_now(), steady + 1500ns);
    EXPECT_EQ(clock.system_now(), wall + 1us);
    clock.advance(500ns);
    EXPECT_EQ(clock.system_now(), wall + 2us);
    clock.step_system(-1h);
    EXPECT_EQ(clock.system_now(), wall + 2us - 1h);
    EXPECT_EQ(clock.steady_now(), steady + 2us);
}

}  // namespace
}  // namespace hufu
