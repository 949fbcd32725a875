#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include <hufu/sqlite/database.hpp>

#include "tests/temporary_folder.hpp"

namespace hufu::sqlite {
namespace {

using testing::HasSubstr;

template <class Body>
std::optional<Error> error_of_call(Body&& body) {
    try {
        body();
    } catch (const Exception& exception) {
        return exception.error();
    }
    return std::nullopt;
}

class SqliteDatabase : public testing::Test {
protected:
    TemporaryFolder folder_;
    std::string path_ = folder_.file("test.db");
};

TEST_F(SqliteDatabase, CommitsDurablyWithAWriteAheadLogAndForeignKeys) {
    Database database{path_};
    Transaction tx{database};
    const auto setting = [&](const std::string& name) {
        auto rows = tx.query("pragma " + name);
        rows.step();
        return rows.text(0);
    };
    EXPECT_EQ(setting("journal_mode"), "wal");
    EXPECT_EQ(setting("synchronous"), "2");
    EXPECT_EQ(setting("foreign_keys"), "1");
}

TEST_F(SqliteDatabase, KeepsWhatWasCommittedAndNothingElse) {
    Database database{path_};
    {
        Transaction tx{database};
        tx.execute("create table t(a integer, b text, c blob, d)");
        EXPECT_EQ(tx.execute("insert into t values (?, ?, ?, ?)", 7, "seven", Blob{std::string_view{"\0x", 2}}, nullptr), 1);
        tx.commit();
    }
    {
        Transaction tx{database};
        tx.execute("delete from t");
    }
    Transaction tx{database, Transaction::Access::read};
    auto rows = tx.query("select a, b, c, d from t");
    ASSERT_TRUE(rows.step());
    EXPECT_EQ(rows.integer(0), 7);
    EXPECT_EQ(rows.text(1), "seven");
    EXPECT_EQ(rows.view(2), std::string_view("\0x", 2));
    EXPECT_TRUE(rows.is_null(3));
    EXPECT_FALSE(rows.step());
}

TEST_F(SqliteDatabase, LetsWritersOfOneProcessTakeTurns) {
    Database database{path_};
    {
        Transaction tx{database};
        tx.execute("create table t(n integer)");
        tx.execute("insert into t values (0)");
        tx.commit();
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j < 25; ++j) {
                Transaction tx{database};
                auto rows = tx.query("select n from t");
                rows.step();
                tx.execute("update t set n = ?", rows.integer(0) + 1);
                tx.commit();
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    Transaction tx{database, Transaction::Access::read};
    auto rows = tx.query("select n from t");
    rows.step();
    EXPECT_EQ(rows.integer(0), 100);
}

TEST_F(SqliteDatabase, SaysBusyWhenTheTurnDoesNotCome) {
    Database database{path_, {.busy_timeout = std::chrono::milliseconds{20}}};
    Database elsewhere{path_, {.busy_timeout = std::chrono::milliseconds{20}}};
    Transaction holder{database};
    const auto same = error_of_call([&] { Transaction tx{database}; });
    ASSERT_TRUE(same);
    EXPECT_EQ(same->code(), ErrorCode::busy);
    EXPECT_EQ(same->disposition(), Disposition::retry);
    const auto other = error_of_call([&] { Transaction tx{elsewhere}; });
    ASSERT_TRUE(other);
    EXPECT_EQ(other->code(), ErrorCode::busy);
    EXPECT_EQ(other->disposition(), Disposition::retry);
    Transaction reader{elsewhere, Transaction::Access::read};
}

TEST_F(SqliteDatabase, DoesNotLendAConnectionWhoseStatementIsStillOut) {
    Database database{path_};
    std::optional<Statement> left;
    {
        Transaction tx{database};
        tx.execute("create table t(n integer)");
        tx.execute("insert into t values (1), (2)");
        tx.commit();
    }
    Transaction tx{database, Transaction::Access::read};
    left.emplace(tx.query("select n from t"));
    left->step();
    const auto* first = tx.handle();
    tx.roll_back();
    Transaction next{database};
    EXPECT_NE(next.handle(), first);
    next.commit();
    left.reset();
}

TEST_F(SqliteDatabase, NamesTheMissingFile) {
    const auto error = error_of_call([&] { Database database{path_, {.create = false}}; });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::not_found);
    EXPECT_THAT(error->text(), HasSubstr(path_));
    EXPECT_THAT(error->text(), HasSubstr("hufu outbox migrate"));
}

TEST_F(SqliteDatabase, NamesTheMissingFolder) {
    const auto error = error_of_call([&] { Database database{folder_.file("no/such.db")}; });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::unavailable);
    EXPECT_THAT(error->text(), HasSubstr("does not exist; create it"));
}

TEST_F(SqliteDatabase, RefusesAFileOfAnotherKind) {
    std::ofstream{path_}
        << "this is certainly not a database, and it is long enough to be read as a header of one, is it not?";
    const auto error = error_of_call([&] { Database database{path_}; });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::corrupt);
    EXPECT_THAT(error->text(), HasSubstr(path_));
}

TEST_F(SqliteDatabase, RefusesAFolderAndMemory) {
    EXPECT_EQ(error_of_call([&] { Database database{folder_.file("")}; })->code(), ErrorCode::invalid_argument);
    EXPECT_EQ(error_of_call([&] { Database database{":memory:"}; })->code(), ErrorCode::invalid_argument);
}

TEST_F(SqliteDatabase, ReportsABrokenConstraintAsConflict) {
    Database database{path_};
    Transaction tx{database};
    tx.execute("create table t(n integer primary key)");
    tx.execute("insert into t values (1)");
    const auto error = error_of_call([&] { tx.execute("insert into t values (1)"); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::conflict);
    EXPECT_THAT(error->text(), HasSubstr("insert into t"));
}

}  // namespace
}  // namespace hufu::sqlite
