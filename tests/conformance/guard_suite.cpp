#include <gmock/gmock.h>

#include <thread>

#include "suites.hpp"

namespace hufu::conformance {
namespace {

using idempotency::EffectResult;

const MessageId id{{1, 2, 3}};

EffectResult done() { return {Handled::done, std::string{"kept\0bytes", 10}}; }

TEST_P(Guard, GivesADuplicateTheStoredResultAndNoSecondEffect) {
    const auto now = under_test_->now();
    EXPECT_EQ(under_test_->deliver("stock", id, now, done).handled, Handled::done);
    const auto again = under_test_->deliver("stock", id, now, done);
    EXPECT_EQ(again.handled, Handled::already_done);
    EXPECT_EQ(again.result, std::string("kept\0bytes", 10));
    EXPECT_EQ(under_test_->effects(), 1);
}

TEST_P(Guard, KeepsGroupsApart) {
    const auto now = under_test_->now();
    EXPECT_EQ(under_test_->deliver("stock", id, now, done).handled, Handled::done);
    EXPECT_EQ(under_test_->deliver("payment", id, now, done).handled, Handled::done);
    EXPECT_EQ(under_test_->effects(), 2);
}

TEST_P(Guard, LeavesNothingOfAnEffectThatFails) {
    const auto now = under_test_->now();
    EXPECT_EQ(under_test_->deliver("stock", id, now,
                                   [] {
                                       return EffectResult{Handled::retry, {}, "closed"};
                                   })
                  .handled,
              Handled::retry);
    EXPECT_EQ(under_test_->deliver("stock", id, now,
                                   [] {
                                       return EffectResult{Handled::reject, {}, "never"};
                                   })
                  .reason,
              "never");
    EXPECT_THROW(static_cast<void>(
                     under_test_->deliver("stock", id, now, []() -> EffectResult { throw std::runtime_error{"boom"}; })),
                 std::runtime_error);
    EXPECT_EQ(under_test_->effects(), 0);
    EXPECT_EQ(under_test_->deliver("stock", id, now, done).handled, Handled::done);
    EXPECT_EQ(under_test_->effects(), 1);
}

TEST_P(Guard, HasOneEffectForDeliveriesAtTheSameTime) {
    const auto now = under_test_->now();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (std::uint8_t number = 1; number <= 10; ++number) {
                while (under_test_->deliver("stock", MessageId{{number}}, now, done).handled == Handled::retry) {
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(under_test_->effects(), 10);
}

TEST_P(Guard, RejectsWhatIsOlderThanItsHorizon) {
    const auto now = under_test_->now();
    EXPECT_EQ(under_test_->deliver("stock", id, now - std::chrono::hours{3}, done).handled, Handled::done);
    under_test_->purge_old_guards("stock");
    const auto late = under_test_->deliver("stock", id, now - std::chrono::hours{3}, done);
    EXPECT_EQ(late.handled, Handled::reject);
    EXPECT_THAT(late.reason, testing::HasSubstr("horizon"));
    EXPECT_EQ(under_test_->effects(), 1);
    EXPECT_EQ(under_test_->deliver("stock", MessageId{{9}}, now, done).handled, Handled::done);
    EXPECT_EQ(under_test_->deliver("payment", id, now - std::chrono::hours{3}, done).handled, Handled::done);
}

}  // namespace
}  // namespace hufu::conformance
