#include <hufu/idempotency/grade.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;

TEST(GuardDeclaration, IsRefusedWhenItForgetsBeforeTheLastDuplicateAndShowsTheArithmetic) {
    const auto refused = check({.group = "stock",
                                .window = 24h,
                                .duplicates = {.retry = RetrySchedule::ladder({10s, 2h}), .replay = 24h, .buffer = 1h}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(refused.error().disposition(), Disposition::reject);
    EXPECT_EQ(
        refused.error().text(),
        "guard of group \"stock\": it forgets a message after 1 d, but a duplicate may come 1 d 3 h 10 s after the first "
        "delivery (retries 2 h 10 s + replay 1 d + buffer 1 h); make the window at least that long, or shorten a part");
}

TEST(GuardDeclaration, IsTakenWhenTheWindowIsExactlyLongEnough) {
    GuardDeclaration declaration{.group = "stock",
                                 .window = 27h + 10s,
                                 .duplicates = {.retry = RetrySchedule::ladder({10s, 2h}), .replay = 24h, .buffer = 1h}};
    EXPECT_TRUE(check(declaration));
    declaration.window -= 1s;
    EXPECT_FALSE(check(declaration));
    // Jitter shortens waits only.
    declaration.duplicates.retry.jitter(1.0);
    EXPECT_FALSE(check(declaration));
}

TEST(GuardDeclaration, CountsADoublingScheduleByItsAttempts) {
    GuardDeclaration declaration{.group = "stock", .window = 7s, .duplicates = {.retry = RetrySchedule::capped(1s, 4s, 4)}};
    EXPECT_TRUE(check(declaration));  // 1 + 2 + 4
    declaration.window = 6s;
    EXPECT_FALSE(check(declaration));
}

TEST(GuardDeclaration, IsRefusedWhenRetriesNeverEndOrTheGroupHasNoName) {
    EXPECT_THAT(check({.group = "stock", .duplicates = {.retry = RetrySchedule::capped(1s, 4s)}}).error().text(),
                ::testing::HasSubstr("never ends"));
    EXPECT_FALSE(check({.group = ""}));
    EXPECT_FALSE(check({.group = std::string(256, 'g')}));
    EXPECT_TRUE(check({.group = "stock"}));
}

}  // namespace
}  // namespace hufu::idempotency
