#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>

#include <hufu/core/mutant.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/outbox_store.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/temporary_folder.hpp"

namespace hufu::sqlite {
namespace {

using testing::HasSubstr;

class SqliteOutbox : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(migrate(*database_)); }

    std::vector<outbox::Row> rows_after(outbox::Sequence after) {
        return outbox_store(database_)->reader()->read({.after = after, .limit = 100}).value().rows;
    }
    std::int64_t count(const std::string& table) {
        Transaction tx{*database_, Transaction::Access::read};
        auto rows = tx.query("select count(*) from " + table);
        rows.step();
        return rows.integer(0);
    }

    TemporaryFolder folder_;
    std::shared_ptr<Database> database_ = std::make_shared<Database>(folder_.file("orders.db"));
    Outbox outbox_;
};

TEST_F(SqliteOutbox, CommitsTheMessageWithTheRows) {
    Message message{.topic = "orders", .tag = "paid", .keys = {"k1", "k2"}, .ordering_key = "42", .body = {"\0b", 2}};
    message.headers.set("traceparent", "00-1-2-03");
    {
        Transaction tx{*database_};
        outbox_.append(tx, message);
        tx.roll_back();
    }
    EXPECT_TRUE(rows_after(0).empty());
    Transaction tx{*database_};
    message.id = outbox_.append(tx, message);
    tx.commit();
    const auto rows = rows_after(0);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].seq, 1);
    auto stored = rows[0].message;
    EXPECT_EQ(stored.headers.get(header::committed_at), std::to_string(rows[0].created_at.time_since_epoch().count()));
    stored.headers.remove(header::committed_at);
    EXPECT_EQ(stored, message);
}

TEST_F(SqliteOutbox, KeepsADelayedMessageApart) {
    const auto now = system_clock().system_now();
    Transaction tx{*database_};
    outbox_.append(tx, {.topic = "orders", .body = "later", .deliver_at = now + std::chrono::hours{1}});
    outbox_.append(tx, {.topic = "orders", .body = "past means now", .deliver_at = now - std::chrono::hours{1}});
    tx.commit();
    EXPECT_EQ(count("hufu_delayed"), 1);
    ASSERT_EQ(rows_after(0).size(), 1u);
    EXPECT_EQ(rows_after(0)[0].message.body, "past means now");
}

TEST_F(SqliteOutbox, WorksInACallersOwnTransaction) {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(database_->path().c_str(), &raw), SQLITE_OK);
    const std::unique_ptr<sqlite3, int (*)(sqlite3*)> close{raw, &sqlite3_close};
    EXPECT_THROW(outbox_.append(raw, {.topic = "orders"}), Exception);
    ASSERT_EQ(sqlite3_exec(raw, "begin immediate", nullptr, nullptr, nullptr), SQLITE_OK);
    outbox_.append(raw, {.topic = "orders"});
    EXPECT_TRUE(rows_after(0).empty());
    ASSERT_EQ(sqlite3_exec(raw, "commit", nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_EQ(rows_after(0).size(), 1u);
}

TEST_F(SqliteOutbox, ThrowsForAMessageThatNobodyWillAccept) {
    Transaction tx{*database_};
    try {
        outbox_.append(tx, {.topic = "no such topic!"});
        FAIL() << "accepted";
    } catch (const Exception& exception) {
        EXPECT_EQ(exception.error().code(), ErrorCode::invalid_argument);
        EXPECT_EQ(exception.error().disposition(), Disposition::reject);
    }
}

TEST_F(SqliteOutbox, NamesTheWayOutWhenThereAreNoTables) {
    Database bare{folder_.file("bare.db")};
    Transaction tx{bare};
    try {
        outbox_.append(tx, {.topic = "orders"});
        FAIL() << "accepted";
    } catch (const Exception& exception) {
        EXPECT_EQ(exception.error().code(), ErrorCode::wrong_version);
        EXPECT_THAT(exception.what(), HasSubstr("hufu outbox migrate"));
    }
}

TEST_F(SqliteOutbox, NeverGivesANumberTwice) {
    const auto store = outbox_store(database_);
    const auto claim = store->lease()->acquire("relay", std::chrono::seconds{5}).value().value();
    const auto append_one = [&] {
        Transaction tx{*database_};
        outbox_.append(tx, {.topic = "orders"});
        tx.commit();
    };
    append_one();
    const auto first = rows_after(0).at(0).seq;
    ASSERT_EQ(store->settler()->settle(claim, std::vector{first})->ownership, outbox::Ownership::held);
    append_one();
    EXPECT_EQ(rows_after(first).size(), 1u) << "a relay that has read up to " << first << " must see the new row";
}

TEST(SqliteSchema, IsAppliedOnceAndChecked) {
    TemporaryFolder folder;
    Database database{folder.file("orders.db")};
    const auto before = check_schema(database);
    ASSERT_FALSE(before);
    EXPECT_EQ(before.error().code(), ErrorCode::wrong_version);
    EXPECT_THAT(before.error().text(), HasSubstr("schema version 0"));
    EXPECT_THAT(before.error().text(), HasSubstr("hufu outbox migrate --outbox sqlite:" + database.path()));
    EXPECT_EQ(migrate(database).value(), outbox::latest_version(migrations()));
    EXPECT_EQ(migrate(database).value(), 0);
    EXPECT_TRUE(check_schema(database));
}

TEST(SqliteSchema, RefusesAFileOfANewerProgram) {
    TemporaryFolder folder;
    Database database{folder.file("orders.db")};
    ASSERT_TRUE(migrate(database));
    {
        Transaction tx{database};
        tx.execute("insert into hufu_schema values (99, 'from_the_future', 0)");
        tx.commit();
    }
    EXPECT_EQ(check_schema(database).error().code(), ErrorCode::wrong_version);
    EXPECT_EQ(migrate(database).error().code(), ErrorCode::wrong_version);
    EXPECT_THAT(migrate(database).error().text(), HasSubstr("newer program"));
}

TEST(SqliteSchema, MayBePrintedAndRunAgainAndAgain) {
    TemporaryFolder folder;
    Database database{folder.file("orders.db")};
    const auto script = outbox::printed(migrations());
    Transaction tx{database};
    for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(sqlite3_exec(tx.handle(), script.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << script;
    }
    tx.commit();
    EXPECT_TRUE(check_schema(database));
    EXPECT_EQ(migrate(database).value(), 0);
}

}  // namespace
}  // namespace hufu::sqlite
