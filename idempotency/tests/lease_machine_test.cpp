#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/testing/fake_clock.hpp>

#include "tests/memory_leases.hpp"

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;
using State = LeaseOutcome::State;

class Leases : public ::testing::Test {
protected:
    LeaseMachine machine(const std::string& fingerprint = "") {
        return LeaseMachine{{.key = {"mail", "order-1"}, .token = LeaseToken{random_}, .fingerprint = fingerprint},
                            {.lease = 30s, .result_bytes_max = 100, .complete_patience = 2s},
                            24h};
    }
    LeaseOutcome run(LeaseMachine one, const EffectResult& result = {Handled::done, "kept"}) {
        while (step(one, store_, clock_, effects_, result)) {
            if (one.not_before()) clock_.advance(*one.not_before() - clock_.steady_now());
        }
        return one.outcome();
    }
    /// Steps until the effect is the next.
    void begin(LeaseMachine& one) {
        while (one.next() != LeaseAction::run_effect) ASSERT_TRUE(step(one, store_, clock_, effects_));
    }

    hufu::testing::FakeClock clock_;
    SeededRandom random_{1};
    MemoryLeases store_{clock_};
    int effects_ = 0;
};

TEST_F(Leases, GiveADuplicateTheKeptResult) {
    const auto first = run(machine());
    EXPECT_EQ(first.state, State::done);
    EXPECT_TRUE(first.recorded);
    EXPECT_FALSE(first.lease_lost);
    const auto again = run(machine());
    EXPECT_EQ(again.state, State::already_done);
    EXPECT_EQ(again.result, "kept");
    EXPECT_EQ(again.handled().handled, Handled::already_done);
    EXPECT_EQ(effects_, 1);
}

TEST_F(Leases, TellADuplicateToComeAgainWhileTheEffectRuns) {
    auto first = machine();
    begin(first);
    const auto second = run(machine());
    EXPECT_EQ(second.state, State::in_progress);
    EXPECT_EQ(second.retry_after, 5s);
    EXPECT_EQ(second.handled().handled, Handled::retry);
    EXPECT_EQ(run(first).state, State::done);
    EXPECT_EQ(effects_, 1);
}

TEST_F(Leases, GiveTheKeyUpWhenTheEffectFails) {
    const auto failed = run(machine(), {Handled::retry, {}, "mail server is closed"});
    EXPECT_EQ(failed.state, State::retry);
    EXPECT_EQ(failed.reason, "mail server is closed");
    EXPECT_FALSE(store_.holds({"mail", "order-1"}));
    EXPECT_EQ(run(machine(), {Handled::reject, {}, "no such address"}).state, State::reject);
    EXPECT_EQ(run(machine()).state, State::done);
    EXPECT_EQ(effects_, 1);
}

TEST_F(Leases, RefuseAKeyThatComesWithAnotherPayload) {
    auto first = machine("payload-a");
    begin(first);
    EXPECT_EQ(run(machine("payload-b")).state, State::conflict);
    EXPECT_EQ(run(machine("payload-a")).state, State::in_progress);
    EXPECT_EQ(run(first).state, State::done);
    const auto conflict = run(machine("payload-b"));
    EXPECT_EQ(conflict.state, State::conflict);
    EXPECT_EQ(conflict.handled().handled, Handled::reject);
    EXPECT_THAT(conflict.reason, ::testing::HasSubstr("\"order-1\" of group \"mail\" was used with another payload"));
    EXPECT_EQ(run(machine()).state, State::already_done);  // who gives none is not compared
}

TEST_F(Leases, FindTheirOwnFirstTryWhenItsAnswerWasLost) {
    store_.answers_to_lose = 1;
    EXPECT_EQ(run(machine()).state, State::done);
    EXPECT_EQ(effects_, 1);
    store_.forget_everything();
    store_.answers_to_lose = 2;
    EXPECT_EQ(run(machine()).state, State::retry);  // a second lost answer is the retry schedule's business
    EXPECT_EQ(effects_, 1);
}

TEST_F(Leases, TrustALeaseFromBeforeTheQuestionOnly) {
    auto one = machine();
    one.asked(clock_.steady_now());
    const auto seen = store_.acquire(one.request()).value();
    clock_.advance(29s);  // the answer was slow
    one.seen(seen);
    EXPECT_TRUE(one.held(clock_.steady_now()));
    EXPECT_TRUE(one.renewal_due(clock_.steady_now()));
    clock_.advance(1s);
    EXPECT_FALSE(one.held(clock_.steady_now()));
}

TEST_F(Leases, AreNotProlongedByAWallClockThatIsBehind) {
    auto one = machine();
    begin(one);
    clock_.step_system(-1h);
    clock_.advance(30s);
    EXPECT_FALSE(one.held(clock_.steady_now()));
}

TEST_F(Leases, AreRenewedWhileTheEffectRuns) {
    auto one = machine();
    begin(one);
    EXPECT_FALSE(one.renewal_due(clock_.steady_now()));
    for (int i = 0; i < 10; ++i) {
        clock_.advance(10s);
        ASSERT_TRUE(one.renewal_due(clock_.steady_now()));
        one.renewed(LeaseKept::kept, clock_.steady_now());
        ASSERT_TRUE(one.held(clock_.steady_now()));
    }
    clock_.advance(10s);
    one.renewal_failed(clock_.steady_now());
    EXPECT_FALSE(one.renewal_due(clock_.steady_now()));
    clock_.advance(3s);
    EXPECT_TRUE(one.renewal_due(clock_.steady_now()));
}

TEST_F(Leases, SayWhenAnotherHasTakenThem) {
    auto slow = machine();
    begin(slow);
    clock_.advance(31s);
    EXPECT_EQ(run(machine()).state, State::done);
    EXPECT_FALSE(slow.held(clock_.steady_now()));
    const auto late = run(slow, {Handled::done, "the slow one's"});
    EXPECT_EQ(late.state, State::done);
    EXPECT_TRUE(late.lease_lost);
    EXPECT_FALSE(late.recorded);
    EXPECT_THAT(late.reason, ::testing::HasSubstr("may exist twice"));
    EXPECT_EQ(run(machine()).result, "kept");  // the second one's result was not overwritten
    EXPECT_EQ(effects_, 2);
}

TEST_F(Leases, TakeWhatTheStoreHasForgottenAndNobodyTook) {
    auto one = machine();
    begin(one);
    store_.forget_everything();
    const auto outcome = run(one);
    EXPECT_TRUE(outcome.recorded);
    EXPECT_TRUE(outcome.lease_lost);
    EXPECT_EQ(run(machine()).state, State::already_done);
    EXPECT_EQ(effects_, 1);
}

TEST_F(Leases, KeepTryingToRecordAFinishedEffectThenSayThatItIsNotRecorded) {
    auto one = machine();
    begin(one);
    store_.fails_with = Error{ErrorCode::unavailable, Disposition::retry, "Redis is down"};
    const auto before = clock_.steady_now();
    const auto outcome = run(one);
    EXPECT_EQ(outcome.state, State::done);
    EXPECT_FALSE(outcome.recorded);
    EXPECT_THAT(outcome.reason, ::testing::HasSubstr("Redis is down"));
    EXPECT_GE(clock_.steady_now() - before, 2s);
    EXPECT_LT(clock_.steady_now() - before, 3s);
}

TEST_F(Leases, RecordOnceWhenTheAnswerToThatWasLost) {
    auto one = machine();
    begin(one);
    store_.answers_to_lose = 1;
    const auto outcome = run(one);
    EXPECT_TRUE(outcome.recorded);
    EXPECT_FALSE(outcome.lease_lost);
}

TEST_F(Leases, AskForARetryWhenTheStoreIsDown) {
    store_.fails_with = Error{ErrorCode::unavailable, Disposition::retry, "Redis is down"};
    const auto outcome = run(machine());
    EXPECT_EQ(outcome.state, State::retry);
    EXPECT_EQ(outcome.reason, "Redis is down");
    EXPECT_EQ(effects_, 0);
}

TEST_F(Leases, DoNotKeepAResultThatIsTooLargeAndSaySo) {
    const auto outcome = run(machine(), {Handled::done, std::string(101, 'x')});
    EXPECT_EQ(outcome.state, State::done);
    EXPECT_TRUE(outcome.result_dropped);
    EXPECT_THAT(outcome.reason, ::testing::HasSubstr("101 bytes is not kept, the limit is 100"));
    const auto again = run(machine());
    EXPECT_EQ(again.state, State::already_done);
    EXPECT_TRUE(again.result_dropped);
    EXPECT_EQ(again.result, "");
}

TEST_F(Leases, RefuseEmptyAndGiantKeys) {
    const auto outcome = [&](const std::string& group, const std::string& id, const std::string& fingerprint) {
        return run(LeaseMachine{{.key = {group, id}, .token = LeaseToken{random_}, .fingerprint = fingerprint}, {}, 24h});
    };
    EXPECT_EQ(outcome("mail", "", "").state, State::reject);
    EXPECT_EQ(outcome("", "1", "").state, State::reject);
    EXPECT_EQ(outcome("mail", std::string(513, 'k'), "").state, State::reject);
    EXPECT_EQ(outcome("mail", "1", std::string(65, 'f')).state, State::reject);
    EXPECT_THAT(outcome("mail", std::string(513, 'k'), "").reason, ::testing::HasSubstr("has 513 bytes"));
    EXPECT_EQ(effects_, 0);
    EXPECT_EQ(outcome("mail", std::string(512, 'k'), std::string(64, 'f')).state, State::done);
}

}  // namespace
}  // namespace hufu::idempotency
