#include <gtest/gtest.h>

#include <hufu/degradation/circuit_breaker.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::degradation {
namespace {

using namespace std::chrono_literals;

/// A breaker on a clock that the test moves.
class BreakerTest : public ::testing::Test {
protected:
    static BreakerOptions plain() {
        BreakerOptions options;
        options.probe_after = RetrySchedule::capped(250ms, 2s);
        return options;
    }
    SteadyTime now() const { return clock.steady_now(); }
    void answer(Answer how, std::chrono::milliseconds after = 0ms) {
        const auto permit = breaker.admit(now());
        ASSERT_TRUE(permit.has_value());
        clock.advance(after);
        breaker.record(*permit, how, now());
    }
    void tick(std::optional<SteadyTime> oldest = {}) { breaker.tick(oldest, now()); }

    testing::FakeClock clock;
    SeededRandom random{1};
    CircuitBreaker breaker{plain(), random};
};

TEST_F(BreakerTest, OpensAtOnceWhenAConnectionFails) {
    answer(Answer::answered);
    answer(Answer::connection_failed);
    EXPECT_EQ(breaker.state(), BreakerState::open);
    EXPECT_EQ(breaker.reason(), "a connection was refused or lost");
    EXPECT_FALSE(breaker.admit(now()).has_value());
    EXPECT_EQ(breaker.openings(), 1u);
}

TEST_F(BreakerTest, OpensWhenHalfOfEnoughAnswersFailed) {
    for (int i = 0; i < 10; ++i) answer(Answer::answered);
    for (int i = 0; i < 9; ++i) answer(Answer::failed);
    EXPECT_EQ(breaker.state(), BreakerState::closed) << "9 of 19: too few";
    answer(Answer::failed);
    EXPECT_EQ(breaker.state(), BreakerState::open);
    EXPECT_EQ(breaker.reason(), "too many failures");
}

TEST_F(BreakerTest, ForgetsWhatIsOlderThanItsWindow) {
    for (int i = 0; i < 19; ++i) answer(Answer::failed);
    clock.advance(2'100ms);
    for (int i = 0; i < 19; ++i) answer(Answer::answered);
    answer(Answer::failed);
    EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(BreakerTest, OpensWhenAnswersAreSlow) {
    BreakerOptions options = plain();
    options.slow_after = 50ms;
    options.silence_max = 10s;
    CircuitBreaker slow{options, random};
    for (int i = 0; i < 20; ++i) {
        const auto permit = slow.admit(now());
        ASSERT_TRUE(permit.has_value());
        clock.advance(60ms);
        slow.record(*permit, Answer::answered, now());
    }
    EXPECT_EQ(slow.state(), BreakerState::open);
    EXPECT_EQ(slow.reason(), "answers are too slow");
}

TEST_F(BreakerTest, OpensWhenNothingIsAnsweredAnyMore) {
    const auto first = breaker.admit(now());
    EXPECT_EQ(breaker.next_tick(first->sent_at), now() + 80ms);
    clock.advance(79ms);
    tick(first->sent_at);
    EXPECT_EQ(breaker.state(), BreakerState::closed);
    clock.advance(1ms);
    tick(first->sent_at);
    EXPECT_EQ(breaker.state(), BreakerState::open);
    EXPECT_EQ(breaker.reason(), "the broker keeps silent");
}

TEST_F(BreakerTest, IsNotAlarmedByOneLateAnswerAmongOthers) {
    const auto late = breaker.admit(now());
    for (int i = 0; i < 4; ++i) {
        clock.advance(400ms);
        answer(Answer::answered);
        tick(late->sent_at);
        EXPECT_EQ(breaker.state(), BreakerState::closed);
    }
}

TEST_F(BreakerTest, ProbesOneAtATimeAndClosesAfterThree) {
    answer(Answer::connection_failed);
    EXPECT_EQ(breaker.next_tick({}), now() + 250ms);
    clock.advance(250ms);
    tick();
    EXPECT_EQ(breaker.state(), BreakerState::half_open);
    const auto probe = breaker.admit(now());
    ASSERT_TRUE(probe.has_value());
    EXPECT_TRUE(probe->probe);
    EXPECT_FALSE(breaker.admit(now()).has_value()) << "one at a time";
    breaker.record(*probe, Answer::answered, now());
    answer(Answer::answered);
    EXPECT_EQ(breaker.state(), BreakerState::half_open);
    answer(Answer::answered);
    EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(BreakerTest, WaitsLongerAfterEveryFailedProbeUpToTheCap) {
    answer(Answer::connection_failed);
    for (const auto wait : {250ms, 500ms, 1'000ms, 2'000ms, 2'000ms}) {
        EXPECT_EQ(breaker.next_tick({}), now() + wait);
        clock.advance(wait);
        tick();
        answer(Answer::failed);
        EXPECT_EQ(breaker.state(), BreakerState::open);
    }
    EXPECT_EQ(breaker.openings(), 1u) << "one outage";
}

TEST_F(BreakerTest, TakesAnUnansweredProbeForAFailedOne) {
    answer(Answer::connection_failed);
    clock.advance(250ms);
    tick();
    const auto probe = breaker.admit(now());
    clock.advance(500ms);
    tick();
    EXPECT_EQ(breaker.state(), BreakerState::open);
    EXPECT_EQ(breaker.reason(), "a probe was not answered");
    // Its answer comes after all: the broker is back, the next probe may go at once.
    breaker.record(*probe, Answer::answered, now());
    EXPECT_EQ(breaker.state(), BreakerState::half_open);
    EXPECT_TRUE(breaker.admits(now()));
}

TEST_F(BreakerTest, IgnoresFailuresOfAnEarlierTurn) {
    const auto early = breaker.admit(now());
    const auto other = breaker.admit(now());
    breaker.record(*early, Answer::connection_failed, now());
    clock.advance(250ms);
    tick();
    breaker.record(*other, Answer::connection_failed, now());
    EXPECT_EQ(breaker.state(), BreakerState::half_open);
}

TEST_F(BreakerTest, LetsAnotherProbeGoWhenOneWasGivenBack) {
    answer(Answer::connection_failed);
    clock.advance(250ms);
    tick();
    const auto probe = breaker.admit(now());
    breaker.release(*probe);
    EXPECT_TRUE(breaker.admit(now()).has_value());
}

TEST(BreakerOptionsCheck, NamesWhatCannotBe) {
    BreakerOptions options;
    EXPECT_TRUE(validate(options));
    options.failed_percent = 0;
    EXPECT_EQ(validate(options).error().text(), "breaker: failed_percent is 0: 1 to 100 percent are possible");
    options = {};
    options.silence_max = 0ms;
    EXPECT_EQ(validate(options).error().text(), "breaker: silence_max is 0 ms: it must be above 0");
    options = {};
    options.window = 9ms;
    EXPECT_EQ(validate(options).error().text(), "breaker: window is 9 ms: at least 10 ms are needed");
    options = {};
    options.probe_after = RetrySchedule::capped(1ms, 1ms, 3);
    EXPECT_EQ(validate(options).error().text(),
              "breaker: probe_after ends after 3 attempts: a broker must be probed until it is back");
}

}  // namespace
}  // namespace hufu::degradation
