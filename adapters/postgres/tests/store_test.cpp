// What only PostgreSQL does; what every store does is in tests/conformance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <hufu/postgres/schema.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/postgres/transaction.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using outbox::Ownership;
using namespace std::chrono_literals;

void append(Connection& connection, const std::string& body) {
    Transaction transaction{connection};
    transaction.append(message("orders", "key", body));
    transaction.commit();
}

TEST(Reader, SeesARowThatCommitsBehindItsPositionByItsHole) {
    const auto url = migrated_database();
    Store store{url};
    auto reader = store.reader();
    EXPECT_EQ(reader->start().value().base, 0);
    auto slow = connect(url);
    Transaction held{*slow};
    held.append(message("orders", "key", "first"));
    (void)held.query("select 1");
    append(*connect(url), "second");
    const auto bound = reader->start().value();
    EXPECT_EQ(bound.base, 2);
    auto page = reader->read({.after = 0, .limit = 10}).value();
    ASSERT_EQ(page.rows.size(), 1U);
    EXPECT_EQ(page.rows[0].message.body, "second");
    EXPECT_LT(page.xmin, bound.bound) << "the writer of the hole is still at work";
    EXPECT_EQ(page.identity, bound.identity);
    held.commit();
    page = reader->read({.after = 2, .holes = {1}, .limit = 10}).value();
    ASSERT_EQ(page.rows.size(), 1U);
    EXPECT_EQ(page.rows[0].message.body, "first");
    EXPECT_GT(page.xmin, bound.bound) << "every transaction that could fill a hole has ended";
    page = reader->read({.after = 2, .upto = 2, .skip = {2}, .limit = 10}).value();
    ASSERT_EQ(page.rows.size(), 1U);
    EXPECT_EQ(page.rows[0].seq, 1);
    EXPECT_EQ(reader->count_unknown(2, std::vector<outbox::Sequence>{2}).value(), 1U);
}

TEST(Reader, DrawsTheTransactionNumberBeforeTheSequenceNumber) {
    const auto url = migrated_database();
    auto connection = connect(url);
    // Whoever inserts, by whatever path: a default of the table.
    EXPECT_THAT(value_of(*connection,
                         "select pg_get_expr(adbin, adrelid) from pg_attrdef "
                         "where adrelid = 'hufu.outbox_0'::regclass and adnum = 1"),
                testing::HasSubstr("pg_current_xact_id() IS NULL"));
}

TEST(Reader, GoesAlongTheIndexWhateverTheStatisticsSay) {
    const auto url = migrated_database();
    auto connection = connect(url);
    connection->run("analyze hufu.outbox_0").value();
    connection->run_script("set enable_seqscan = off; set enable_bitmapscan = off").value();
    const auto plan = connection->run("explain select * from hufu.outbox_0 where seq > 5 order by seq limit 10").value();
    std::string text;
    for (std::size_t row = 0; row < plan.size(); ++row) text += plan.text(row, 0);
    EXPECT_THAT(text, testing::HasSubstr("Index Scan"));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("Sort")));
}

TEST(Identity, ChangesWithARestartAndEndsTheClaim) {
    test_support::PostgresServer own;
    const auto url = own.create_database();
    migrate(url).value();
    Store store{url};
    auto lease = store.lease();
    auto settler = store.settler();
    auto lot = store.parking_lot();
    auto delayed = store.delayed_rows();
    const auto claim = lease->acquire("a", 10s).value().value();
    EXPECT_EQ(settler->settle(claim, {}).value().ownership, Ownership::held);
    own.restart(test_support::StopMode::kill);
    const auto lost = settler->settle(claim, {});
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(settler->settle(claim, {}).value().ownership, Ownership::moved_on);
    (void)lease->renew(claim, 10s);
    EXPECT_EQ(lease->renew(claim, 10s).value(), Ownership::moved_on);
    EXPECT_EQ(lot->park(claim, {}).value(), Ownership::moved_on);
    EXPECT_EQ(delayed->move_due(claim, 10).value().ownership, Ownership::moved_on);
    const auto again = lease->acquire("a", 10s).value().value();
    EXPECT_NE(again.identity, claim.identity);
    EXPECT_GT(again.epoch, claim.epoch);
}

TEST(Settler, DeletesNothingForAFencedOwner) {
    const auto url = migrated_database();
    Store store{url};
    append(*connect(url), "x");
    auto lease = store.lease();
    const auto old = lease->acquire("a", 10s).value().value();
    const auto claim = lease->acquire("a", 10s).value().value();
    const outbox::Sequence seqs[] = {1};
    auto settler = store.settler();
    EXPECT_EQ(settler->settle(old, seqs).value().ownership, Ownership::fenced);
    EXPECT_EQ(store.status().value().pending, 1U);
    const auto settled = settler->settle(claim, seqs).value();
    EXPECT_EQ(settled.ownership, Ownership::held);
    EXPECT_GT(settled.transaction, 0U);
    EXPECT_EQ(store.status().value().pending, 0U);
    const auto owner = store.status().value().owner.value();
    EXPECT_EQ(owner.owner, "a");
    EXPECT_EQ(owner.epoch, 2U);
    EXPECT_GT(owner.lease_left, 5s);
}

TEST(Store, SaysThatTheServerIsAwayAndWhatToDo) {
    Store store{"postgresql://user:secret@127.0.0.1:1/orders"};
    const auto away = store.reader()->start();
    ASSERT_FALSE(away);
    EXPECT_EQ(away.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(away.error().disposition(), Disposition::retry);
    EXPECT_THAT(store.describe(), testing::HasSubstr("127.0.0.1:1/orders"));
    EXPECT_THAT(store.describe(), testing::Not(testing::HasSubstr("secret")));
}

}  // namespace
}  // namespace hufu::postgres
