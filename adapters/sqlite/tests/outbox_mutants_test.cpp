// Without AUTOINCREMENT a number comes back, and a relay that remembers its position passes the new row over.
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/temporary_folder.hpp"

namespace hufu::sqlite {
namespace {

TEST(SqliteMutants, ReusedRowidHidesARow) {
    activate_mutant("reused_sqlite_rowid");
    TemporaryFolder folder;
    auto database = std::make_shared<Database>(folder.file("orders.db"));
    ASSERT_TRUE(migrate(*database));
    activate_mutant("");
    Outbox outbox;
    const auto store = outbox_store(database);
    const auto claim = store->lease()->acquire("relay", std::chrono::seconds{5}).value().value();
    for (int i = 0; i < 2; ++i) {
        Transaction tx{*database};
        outbox.append(tx, {.topic = "orders"});
        tx.commit();
        if (i == 0) {
            ASSERT_TRUE(store->settler()->settle(claim, std::vector<outbox::Sequence>{1}));
        }
    }
    EXPECT_TRUE(store->reader()->read({.after = 1, .limit = 10})->rows.empty());
    EXPECT_EQ(store->reader()->read({.after = 0, .limit = 10})->rows.size(), 1u);
}

TEST(SqliteMutants, AnUnfencedLaneLetsAnOldOwnerWork) {
    TemporaryFolder folder;
    auto database = std::make_shared<Database>(folder.file("orders.db"));
    ASSERT_TRUE(migrate(*database));
    const auto store = outbox_store(database);
    const auto old_claim = store->lease()->acquire("first", std::chrono::milliseconds{-1}).value().value();
    ASSERT_TRUE(store->lease()->acquire("second", std::chrono::seconds{5}).value().has_value());
    EXPECT_EQ(store->settler()->settle(old_claim, {})->ownership, outbox::Ownership::fenced);
    activate_mutant("lease_never_fenced");
    EXPECT_EQ(store->settler()->settle(old_claim, {})->ownership, outbox::Ownership::held);
    activate_mutant("");
}

}  // namespace
}  // namespace hufu::sqlite
