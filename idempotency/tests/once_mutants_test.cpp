// The seeded bugs of the guard do what they are meant to: each breaks "one effect" in its own way.
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>

#include "tests/memory_guards.hpp"

namespace hufu::idempotency {
namespace {

class GuardMutants : public testing::Test {
protected:
    void TearDown() override { activate_mutant(""); }
};

/// Two consumers take the same message, step by step in turn.
int effects_of_two_at_once() {
    MemoryDisk disk;
    MemoryTransaction first{disk};
    MemoryTransaction second{disk};
    OnceMachine a{some_key, SystemTime{}};
    OnceMachine b{some_key, SystemTime{}};
    // The store's unique key: an insert waits for the other transaction. Look first, then one after the other.
    while (a.next() != OnceAction::finished && a.next() != OnceAction::run_effect && step(a, first)) {
    }
    if (a.key() == b.key() && a.next() == OnceAction::run_effect && b.next() == OnceAction::begin) {
        step(b, second);
        if (b.next() == OnceAction::find_guard) {
            step(b, second);
        }
    }
    while (step(a, first)) {
    }
    while (step(b, second)) {
    }
    return disk.effects;
}

TEST_F(GuardMutants, NoneIsActiveByDefault) {
    EXPECT_EQ(worst_effects_after_a_crash(), 1);
    EXPECT_EQ(effects_of_two_at_once(), 1);
}

TEST_F(GuardMutants, AGuardAfterTheEffectRepeatsItAfterACrash) {
    activate_mutant("guard_after_effect");
    EXPECT_EQ(worst_effects_after_a_crash(), 2);
}

TEST_F(GuardMutants, CheckThenSetRepeatsTheEffectOfTwoAtOnce) {
    activate_mutant("check_then_set");
    EXPECT_EQ(effects_of_two_at_once(), 2);
}

TEST_F(GuardMutants, NoGuardMakesEveryDeliveryAnEffect) {
    activate_mutant("guard_off");
    EXPECT_EQ(effects_of_two_at_once(), 2);
}

}  // namespace
}  // namespace hufu::idempotency
