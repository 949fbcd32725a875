#include <gtest/gtest.h>

#include "tests/memory_verdicts.hpp"

namespace hufu::txmsg {
namespace {

using namespace std::chrono_literals;

const TransactionId id = transaction_of(1'000'000ms);

Seen check(MemoryTable& table) {
    MemoryCheck rows{table};
    return run_check(FencedCheck{id}, rows).value();
}

TEST(FencedCheck, FindsACommittedRow) {
    MemoryTable table;
    table.committed[id] = Verdict::commit;
    EXPECT_EQ(check(table), Seen::committed);
}

TEST(FencedCheck, LeavesATombstoneThatRefusesALateLocalTransaction) {
    MemoryTable table;
    EXPECT_EQ(check(table), Seen::rolled_back);
    EXPECT_EQ(table.committed.at(id), Verdict::rollback);
    MemoryLocal local{table};
    EXPECT_EQ(local.insert_verdict(id).error().code(), ErrorCode::conflict);
    EXPECT_EQ(check(table), Seen::rolled_back);
}

TEST(FencedCheck, CallsARunningTransactionOngoingAndLeavesNothing) {
    MemoryTable table;
    MemoryLocal local{table};
    ASSERT_TRUE(local.insert_verdict(id));
    EXPECT_EQ(check(table), Seen::ongoing);
    EXPECT_TRUE(table.committed.empty());
    ASSERT_TRUE(local.commit());
    EXPECT_EQ(check(table), Seen::committed);
}

TEST(FencedCheck, SaysNothingOfATransactionOlderThanTheWatermark) {
    MemoryTable table;
    table.watermark = SystemTime{1'000'001ms};
    EXPECT_EQ(check(table), Seen::beyond_retention);
    EXPECT_TRUE(table.committed.empty()) << "a tombstone was left for a transaction whose row may have been purged";
    table.watermark = SystemTime{1'000'000ms};
    EXPECT_EQ(check(table), Seen::rolled_back) << "begun at the watermark itself: nothing of it was purged";
}

TEST(FencedCheck, BelievesARowThatIsThereHoweverOld) {
    MemoryTable table;
    table.watermark = SystemTime{5'000'000ms};
    table.committed[id] = Verdict::commit;
    EXPECT_EQ(check(table), Seen::committed);
}

TEST(FencedCheck, TakesAnIdWithoutATimeForOldOnceAnythingWasPurged) {
    const TransactionId random{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x40, 0, 0x80}};
    MemoryTable table;
    MemoryCheck rows{table};
    EXPECT_EQ(run_check(FencedCheck{random}, rows).value(), Seen::rolled_back);
    table.committed.clear();
    table.watermark = SystemTime{1ms};
    EXPECT_EQ(run_check(FencedCheck{random}, rows).value(), Seen::beyond_retention);
}

TEST(FencedCheck, RunsOnceMoreWhenTheDatabaseWantsSo) {
    MemoryTable table;
    MemoryCheck rows{table};
    rows.again = 2;
    EXPECT_EQ(run_check(FencedCheck{id}, rows).value(), Seen::rolled_back);
    table.committed.clear();
    rows.again = 100;
    EXPECT_EQ(run_check(FencedCheck{id}, rows).value(), Seen::ongoing);
    EXPECT_EQ(rows.again, 97);
}

TEST(FencedCheck, ReportsATombstoneWhoseCommitIsInDoubtAsAnError) {
    MemoryTable table;
    MemoryCheck rows{table};
    rows.commit_error = Error{ErrorCode::unavailable, Disposition::in_doubt, "connection lost"};
    const auto seen = run_check(FencedCheck{id}, rows);
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().disposition(), Disposition::in_doubt);
    EXPECT_TRUE(table.open.empty());
}

}  // namespace
}  // namespace hufu::txmsg
