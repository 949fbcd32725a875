// The seeded bugs of check-back do what they are meant to: each breaks "both or neither" in its own way.
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/txmsg/responder_machine.hpp>

#include "tests/memory_verdicts.hpp"

namespace hufu::txmsg {
namespace {

using namespace std::chrono_literals;

const TransactionId id = transaction_of(1'000'000ms);

class VerdictMutants : public testing::Test {
protected:
    void TearDown() override { activate_mutant(""); }
};

/// A check comes before the local transaction has inserted its row: is what the check said still true afterwards?
bool a_late_local_transaction_breaks_the_verdict() {
    MemoryTable table;
    MemoryCheck rows{table};
    const Seen said = run_check(FencedCheck{id}, rows).value();
    MemoryLocal local{table};
    const bool committed = local.insert_verdict(id) && local.commit();
    return said == Seen::rolled_back && committed;
}

/// A check comes after the committed row was purged: is it called rolled back?
bool a_purged_commit_is_called_rolled_back() {
    MemoryTable table;
    table.effects = 1;
    table.watermark = SystemTime{2'000'000ms};
    MemoryCheck rows{table};
    return run_check(FencedCheck{id}, rows).value() == Seen::rolled_back;
}

/// A process of another installation gets the check.
bool a_foreign_store_is_asked() {
    ResponderMachine machine{{.store = "staging"}};
    machine.arrived(1, {.transaction = id, .group = "pay", .store = "production"}, SteadyTime{1h});
    return machine.take().front().kind == ResponderAction::Kind::ask_store;
}

TEST_F(VerdictMutants, NoneIsActiveByDefault) {
    EXPECT_FALSE(a_late_local_transaction_breaks_the_verdict());
    EXPECT_FALSE(a_purged_commit_is_called_rolled_back());
    EXPECT_FALSE(a_foreign_store_is_asked());
}

TEST_F(VerdictMutants, AnUnfencedCheckLetsALateLocalTransactionCommit) {
    activate_mutant("unfenced_check");
    EXPECT_TRUE(a_late_local_transaction_breaks_the_verdict());
}

TEST_F(VerdictMutants, ATombstoneAfterCleanupRollsBackWhatWasCommitted) {
    activate_mutant("tombstone_after_cleanup");
    EXPECT_TRUE(a_purged_commit_is_called_rolled_back());
}

TEST_F(VerdictMutants, AForeignStoreAnswersFromItsEmptyTable) {
    activate_mutant("foreign_store_answers");
    EXPECT_TRUE(a_foreign_store_is_asked());
}

}  // namespace
}  // namespace hufu::txmsg
