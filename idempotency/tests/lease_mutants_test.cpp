// The seeded bugs of the lease guard and the filter do what they are meant to.
#include <gtest/gtest.h>

#include <map>

#include <hufu/core/mutant.hpp>
#include <hufu/idempotency/done_filter.hpp>
#include <hufu/testing/fake_clock.hpp>

#include "tests/memory_leases.hpp"

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;
using State = LeaseOutcome::State;

class LeaseMutants : public ::testing::Test {
protected:
    void TearDown() override { activate_mutant(""); }

    LeaseMachine machine() {
        return LeaseMachine{{.key = {"mail", "1"}, .token = LeaseToken{random_}}, {.lease = 30s}, 24h};
    }

    /// The fewest effects after a process died following each possible number of steps, its lease ran out, and the message
    /// was delivered until somebody said that it is done.
    int fewest_effects_after_a_crash() {
        int fewest = 1000;
        for (int steps = 0; steps < 4; ++steps) {
            store_.forget_everything();
            int effects = 0;
            auto dies = machine();
            for (int i = 0; i < steps && step(dies, store_, clock_, effects); ++i) {
            }
            clock_.advance(31s);
            auto next = machine();
            while (step(next, store_, clock_, effects)) {
            }
            fewest = std::min(fewest, effects);
        }
        return fewest;
    }

    /// Effects of a first run that fails while a duplicate is delivered; both come again if they were not acknowledged.
    int effects_when_the_first_of_two_fails() {
        store_.forget_everything();
        int effects = 0;
        auto first = machine();
        static_cast<void>(step(first, store_, clock_, effects));
        auto second = machine();
        while (step(second, store_, clock_, effects)) {
        }
        while (step(first, store_, clock_, effects, {Handled::reject, {}, "never"})) {
        }
        if (second.outcome().handled().handled != Handled::retry) return effects;
        auto again = machine();
        while (step(again, store_, clock_, effects)) {
        }
        return effects;
    }

    hufu::testing::FakeClock clock_;
    SeededRandom random_{1};
    MemoryLeases store_{clock_};
};

TEST_F(LeaseMutants, NoneIsActiveByDefault) {
    EXPECT_GE(fewest_effects_after_a_crash(), 1);
    EXPECT_EQ(effects_when_the_first_of_two_fails(), 1);
}

TEST_F(LeaseMutants, MarkBeforeEffectLosesItInACrash) {
    activate_mutant("mark_before_effect");
    EXPECT_EQ(fewest_effects_after_a_crash(), 0);
}

TEST_F(LeaseMutants, ADuplicateThatDoesNotWaitLosesTheEffect) {
    activate_mutant("duplicate_not_waiting");
    EXPECT_EQ(effects_when_the_first_of_two_fails(), 0);
}

class Marks final : public DoneMarks {
public:
    Result<std::optional<std::string>> find(const GuardKey& key) override {
        return marks.contains(key.id) ? std::optional<std::string>{""} : std::nullopt;
    }
    Result<void> mark(const GuardKey& key, std::string_view, std::chrono::milliseconds) override {
        marks[key.id] = true;
        return {};
    }
    std::map<MessageId, bool> marks;
};

int effects_when_the_first_commit_fails() {
    Marks marks;
    FilteredGuard guard{marks};
    int effects = 0;
    static_cast<void>(guard.run({"stock", MessageId{{1}}}, [] {
        return OnceOutcome{Handled::retry, {}, "connection lost"};
    }));
    static_cast<void>(guard.run({"stock", MessageId{{1}}}, [&] {
        ++effects;
        return OnceOutcome{Handled::done};
    }));
    return effects;
}

TEST_F(LeaseMutants, AMarkBeforeTheCommitLosesTheEffect) {
    EXPECT_EQ(effects_when_the_first_commit_fails(), 1);
    activate_mutant("mark_before_commit");
    EXPECT_EQ(effects_when_the_first_commit_fails(), 0);
}

}  // namespace
}  // namespace hufu::idempotency
