#include <gtest/gtest.h>

#include <hufu/degradation/ladder_rung.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::degradation {
namespace {

using namespace std::chrono_literals;
using Silence = LadderOptions::Silence;

const Error away{ErrorCode::unavailable, Disposition::retry, "connection refused"};

class RungTest : public ::testing::Test {
protected:
    static RungOptions plain() {
        RungOptions options{.name = "redis", .bytes_max = 1'000, .age_max = 60s};
        options.look_after = RetrySchedule::capped(50ms, 200ms);
        return options;
    }
    SteadyTime now() const { return clock.steady_now(); }
    void look(Loss loss = Loss::nothing) { rung.inspected(LossStatement{loss, "said so"}, now()); }

    testing::FakeClock clock;
    SeededRandom random{1};
    LadderRung rung{plain(), random};
};

TEST_F(RungTest, TakesNothingBeforeItsSettingsWereRead) {
    EXPECT_FALSE(rung.takes(Loss::everything, now()));
    EXPECT_TRUE(rung.take_inspection(now()));
    EXPECT_FALSE(rung.take_inspection(now())) << "asked once";
    look();
    EXPECT_TRUE(rung.takes(Loss::nothing, now()));
    EXPECT_FALSE(rung.take_inspection(now()));
}

TEST_F(RungTest, IsPassedOverByTopicsThatNeedMore) {
    look(Loss::last_second);
    EXPECT_FALSE(rung.takes(Loss::nothing, now()));
    EXPECT_TRUE(rung.takes(Loss::last_second, now()));
    EXPECT_TRUE(rung.takes(Loss::everything, now()));
    EXPECT_EQ(rung.describe(Loss::nothing, now()), "may lose last_second (said so)");
}

TEST_F(RungTest, IsLookedForWithGrowingWaitsAndInspectedAnewWhenItIsBack) {
    look(Loss::nothing);
    rung.epoch_read(away, now());
    EXPECT_EQ(rung.state(), LadderRung::State::away);
    EXPECT_FALSE(rung.takes(Loss::everything, now()));
    EXPECT_EQ(rung.describe(Loss::nothing, now()), "away: connection refused");
    for (const auto wait : {50ms, 100ms, 200ms, 200ms}) {
        EXPECT_EQ(rung.next_inspection(), now() + wait);
        EXPECT_FALSE(rung.take_inspection(now()));
        clock.advance(wait);
        ASSERT_TRUE(rung.take_inspection(now()));
        rung.inspected(away, now());
    }
    clock.advance(200ms);
    ASSERT_TRUE(rung.take_inspection(now()));
    look(Loss::everything);
    EXPECT_EQ(rung.state(), LadderRung::State::up);
    EXPECT_FALSE(rung.takes(Loss::nothing, now())) << "its settings have changed meanwhile";
}

TEST_F(RungTest, IsInspectedAgainWhileItIsThere) {
    EXPECT_TRUE(rung.take_inspection(now()));
    look(Loss::nothing);
    EXPECT_EQ(rung.next_inspection(), now() + 5s);
    clock.advance(4'999ms);
    EXPECT_FALSE(rung.take_inspection(now()));
    clock.advance(1ms);
    EXPECT_TRUE(rung.take_inspection(now()));
    EXPECT_FALSE(rung.take_inspection(now())) << "asked once";
    EXPECT_TRUE(rung.takes(Loss::nothing, now())) << "until it is heard of";
    look(Loss::everything);
    EXPECT_FALSE(rung.takes(Loss::last_second, now())) << "its settings were changed";
    clock.advance(5s);
    ASSERT_TRUE(rung.take_inspection(now()));
    rung.inspected(away, now());
    EXPECT_EQ(rung.state(), LadderRung::State::away);
    EXPECT_EQ(rung.next_inspection(), now() + 50ms);
}

TEST_F(RungTest, AnInspectionDoesNotMakeItTakeWhatItRefused) {
    look();
    clock.advance(4'900ms);
    rung.not_spilled({.status = SpillOutcome::Status::refused,
                      .error = Error{ErrorCode::out_of_space, Disposition::retry, "out of memory"}},
                     now());
    clock.advance(100ms);
    ASSERT_TRUE(rung.take_inspection(now()));
    look();
    EXPECT_EQ(rung.describe(Loss::nothing, now()), "refuses: out of memory");
}

TEST_F(RungTest, MayHoldEveryKeyUntilItWasAsked) {
    EXPECT_TRUE(rung.may_hold(Silence::as_last_known));
    rung.epoch_read(std::uint64_t{0}, now());
    EXPECT_FALSE(rung.may_hold(Silence::as_last_known));
    rung.epoch_read(away, now());
    EXPECT_FALSE(rung.may_hold(Silence::as_last_known));
    EXPECT_TRUE(rung.may_hold(Silence::holds_every_key));
}

TEST_F(RungTest, KnowsWhatWasPutThereSinceTheEpochWasRead) {
    look();
    rung.epoch_read(std::uint64_t{0}, now());
    rung.spilled(2, 100);
    EXPECT_TRUE(rung.may_hold(Silence::as_last_known));
    EXPECT_EQ(rung.size().entries, 2u);
    rung.epoch_read(std::uint64_t{0}, now());
    rung.not_spilled({.status = SpillOutcome::Status::in_doubt, .error = away}, now());
    EXPECT_TRUE(rung.may_hold(Silence::as_last_known)) << "it may be there";
}

TEST_F(RungTest, HoldsSomethingThatHasNoKeyThoughNoKeyIsBarred) {
    look();
    rung.spilled(1, 10);
    rung.epoch_read(std::uint64_t{0}, now());
    EXPECT_FALSE(rung.may_hold(Silence::as_last_known));
    EXPECT_TRUE(rung.holds_something());
    rung.sized({});
    EXPECT_FALSE(rung.holds_something());
}

TEST_F(RungTest, IsFullByBytesOrAge) {
    look();
    rung.sized({.entries = 10, .bytes = 999});
    EXPECT_TRUE(rung.takes(Loss::nothing, now()));
    rung.spilled(1, 1);
    EXPECT_FALSE(rung.takes(Loss::nothing, now())) << "what was put there since counts";
    rung.sized({.entries = 1, .bytes = 1, .oldest_age = 60s});
    EXPECT_TRUE(rung.full());
    rung.sized({.entries = 1, .bytes = 1, .oldest_age = 59s});
    EXPECT_FALSE(rung.full());
}

TEST_F(RungTest, IsLeftAloneForAWhileAfterItRefused) {
    look();
    rung.not_spilled({.status = SpillOutcome::Status::refused,
                      .error = Error{ErrorCode::out_of_space, Disposition::retry, "out of memory"}},
                     now());
    EXPECT_EQ(rung.state(), LadderRung::State::up);
    EXPECT_FALSE(rung.takes(Loss::nothing, now()));
    EXPECT_EQ(rung.describe(Loss::nothing, now()), "refuses: out of memory");
    clock.advance(500ms);
    EXPECT_TRUE(rung.takes(Loss::nothing, now()));
}

TEST_F(RungTest, StaysWhenOneMessageIsNotForIt) {
    look();
    rung.not_spilled(
        {.status = SpillOutcome::Status::refused, .error = Error{ErrorCode::too_large, Disposition::reject, "2 MiB"}},
        now());
    EXPECT_TRUE(rung.takes(Loss::nothing, now()));
}

}  // namespace
}  // namespace hufu::degradation
