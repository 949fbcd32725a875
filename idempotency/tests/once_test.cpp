#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/memory_guards.hpp"

namespace hufu::idempotency {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;

OnceOutcome deliver(MemoryDisk& disk, SystemTime stored_at = {}) {
    MemoryTransaction transaction{disk};
    return run_once(OnceMachine{some_key, stored_at}, transaction, transaction, [&] { return transaction.effect(); });
}

TEST(OnceMachine, InsertsTheGuardBeforeTheEffectRuns) {
    OnceMachine machine{some_key, SystemTime{}};
    EXPECT_EQ(machine.next(), OnceAction::begin);
    machine.done();
    EXPECT_EQ(machine.next(), OnceAction::insert_guard);
    machine.seen({});
    EXPECT_EQ(machine.next(), OnceAction::run_effect);
    machine.returned({Handled::done, "42"});
    EXPECT_EQ(machine.next(), OnceAction::keep_result);
    EXPECT_EQ(machine.outcome().result, "42");
    machine.done();
    EXPECT_EQ(machine.next(), OnceAction::commit);
    machine.done();
    EXPECT_EQ(machine.next(), OnceAction::finished);
    EXPECT_EQ(machine.outcome().handled, Handled::done);
}

TEST(Once, GivesADuplicateTheStoredResultWithoutASecondEffect) {
    MemoryDisk disk;
    EXPECT_EQ(deliver(disk).handled, Handled::done);
    const auto again = deliver(disk);
    EXPECT_EQ(again.handled, Handled::already_done);
    EXPECT_EQ(again.result, "kept");
    EXPECT_EQ(disk.effects, 1);
}

TEST(Once, HasOneEffectWhereverTheProcessDies) { EXPECT_EQ(worst_effects_after_a_crash(), 1); }

TEST(Once, LeavesNothingWhenTheEffectAsksForARetry) {
    MemoryDisk disk;
    MemoryTransaction transaction{disk};
    const auto outcome = run_once(OnceMachine{some_key, SystemTime{}}, transaction, transaction, [&]() -> EffectResult {
        static_cast<void>(transaction.effect());
        return {Handled::retry, {}, "stock service is closed"};
    });
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_EQ(outcome.reason, "stock service is closed");
    EXPECT_EQ(transaction.roll_backs, 1);
    EXPECT_TRUE(disk.guards.empty());
    EXPECT_EQ(disk.effects, 0);
}

TEST(Once, RollsBackWhenTheEffectThrows) {
    MemoryDisk disk;
    MemoryTransaction transaction{disk};
    EXPECT_THROW(static_cast<void>(run_once(OnceMachine{some_key, SystemTime{}}, transaction, transaction,
                                            []() -> EffectResult { throw std::runtime_error{"boom"}; })),
                 std::runtime_error);
    EXPECT_EQ(transaction.roll_backs, 1);
    EXPECT_TRUE(disk.guards.empty());
}

TEST(Once, AsksForARetryWhenTheCommitIsInDoubt) {
    MemoryDisk disk;
    MemoryTransaction transaction{disk};
    transaction.commit_error = Error{ErrorCode::unavailable, Disposition::in_doubt, "connection lost"};
    const auto outcome =
        run_once(OnceMachine{some_key, SystemTime{}}, transaction, transaction, [&] { return transaction.effect(); });
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_EQ(outcome.reason, "connection lost");
    EXPECT_EQ(transaction.roll_backs, 1);
}

TEST(Once, RejectsAMessageFromBeforeTheHorizon) {
    MemoryDisk disk;
    disk.horizon = SystemTime{hours{100}};
    const auto outcome = deliver(disk, SystemTime{hours{99}});
    EXPECT_EQ(outcome.handled, Handled::reject);
    EXPECT_THAT(outcome.reason, testing::HasSubstr("before the horizon of group \"stock\""));
    EXPECT_EQ(disk.effects, 0);
    EXPECT_EQ(deliver(disk, SystemTime{hours{100}}).handled, Handled::done);
}

TEST(Once, KnowsADuplicateFromBeforeTheHorizonWhileItsRowIsThere) {
    MemoryDisk disk;
    EXPECT_EQ(deliver(disk, SystemTime{hours{99}}).handled, Handled::done);
    disk.horizon = SystemTime{hours{100}};
    EXPECT_EQ(deliver(disk, SystemTime{hours{99}}).handled, Handled::already_done);
}

TEST(FirstStoredAt, IsTheEarlierOfBrokerTimeAndAppendTime) {
    Delivery delivery;
    EXPECT_EQ(first_stored_at(delivery), SystemTime{});
    delivery.stored_at = SystemTime{microseconds{500}};
    EXPECT_EQ(first_stored_at(delivery), SystemTime{microseconds{500}});
    delivery.message.headers.set(header::committed_at, "400");
    EXPECT_EQ(first_stored_at(delivery), SystemTime{microseconds{400}});
    delivery.stored_at = {};
    EXPECT_EQ(first_stored_at(delivery), SystemTime{microseconds{400}});
    delivery.message.headers.set(header::committed_at, "4oo");
    EXPECT_EQ(first_stored_at(delivery), SystemTime{});
}

}  // namespace
}  // namespace hufu::idempotency
