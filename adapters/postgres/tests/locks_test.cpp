#include <hufu/postgres/locks.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <atomic>
#include <thread>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using namespace std::chrono_literals;
using idempotency::EffectResult;
using idempotency::FencingToken;
using testing::HasSubstr;

class PostgresLocks : public testing::Test {
protected:
    void SetUp() override {
        connection_->run_script("create table stock(id int primary key, n int, version bigint not null default 0)").value();
        connection_->run_script("insert into stock values (1, 100)").value();
    }
    std::string stock() { return value_of(*connection_, "select n from stock"); }
    /// Read, think, write: wrong without a lock.
    static EffectResult take_one(pqxx::work& tx) {
        const int n = tx.exec1("select n from stock where id = 1")[0].as<int>();
        tx.exec("select pg_sleep(0.002)");
        tx.exec_params("update stock set n = $1 where id = 1", n - 1);
        return Handled::done;
    }
    template <class Action>
    static Error error_of(const Action& action) {
        try {
            action();
        } catch (const Exception& failure) {
            return failure.error();
        }
        return Error{ErrorCode::internal, Disposition::fatal, "nothing was thrown"};
    }

    std::string url_ = migrated_database();
    std::unique_ptr<Connection> connection_ = connect(url_);
    ConnectionPool pool_{url_};
    AdvisoryLocks locks_{pool_};
};

TEST_F(PostgresLocks, AreHeldByOneAndHandOutAGrowingToken) {
    auto first = locks_.acquire("order-1", 1s).value();
    EXPECT_TRUE(first->confirm());
    const auto refused = locks_.acquire("order-1", 20ms);
    EXPECT_EQ(refused.error().code(), ErrorCode::busy);
    EXPECT_THAT(refused.error().text(), HasSubstr("lock \"order-1\" was not free within 20 ms"));
    EXPECT_TRUE(locks_.acquire("order-2", 1s));
    const auto token = first->token();
    first.reset();
    EXPECT_GT(locks_.acquire("order-1", 1s).value()->token(), token);
}

TEST_F(PostgresLocks, AreLostWithTheirSession) {
    const auto lock = locks_.acquire("order-1", 1s).value();
    connection_->run_script("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'").value();
    EXPECT_EQ(lock->confirm().error().code(), ErrorCode::fenced);
    EXPECT_FALSE(lock->held());
    EXPECT_TRUE(locks_.acquire("order-1", 1s));
}

TEST_F(PostgresLocks, MakeCheckAndUpdateOneStep) {
    std::vector<std::jthread> threads;
    std::atomic<int> done{0};
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) {
                if (lock_check_update(pool_, locks_, "stock-1", 30s, take_one).handled == Handled::done) ++done;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(done, 40);
    EXPECT_EQ(stock(), "60");
}

TEST_F(PostgresLocks, RefuseAnOlderToken) {
    pqxx::connection session{url_};
    {
        pqxx::work tx{session};
        carry_token(tx, "order-1", FencingToken{5});
        carry_token(tx, "order-1", FencingToken{5});
        tx.commit();
    }
    pqxx::work late{session};
    const auto error = error_of([&] { carry_token(late, "order-1", FencingToken{4}); });
    EXPECT_EQ(error.code(), ErrorCode::fenced);
    EXPECT_EQ(error.disposition(), Disposition::abort_transaction);
    EXPECT_THAT(error.text(), HasSubstr("token 4 is older than 5"));
}

TEST_F(PostgresLocks, EndATransactionThatStandsStill) {
    pqxx::connection stopped{url_};
    pqxx::work tx{stopped};
    carry_token(tx, "order-1", FencingToken{1}, 50ms);
    pqxx::connection next{url_};
    pqxx::work second{next};
    carry_token(second, "order-1", FencingToken{2});  // waits for the first, which the server ends
    second.commit();
    EXPECT_ANY_THROW(tx.exec("update stock set n = 0"));
}

TEST_F(PostgresLocks, CountVersions) {
    pqxx::connection session{url_};
    const RowPlace place{.table = "hufu.stock"};
    pqxx::work tx{session};
    EXPECT_EQ(advance_version(tx, place, "1", 0), 1);
    EXPECT_EQ(advance_version(tx, place, "1", 1), 2);
    const auto error = error_of([&] { advance_version(tx, place, "1", 1); });
    EXPECT_EQ(error.code(), ErrorCode::conflict);
    EXPECT_EQ(error.disposition(), Disposition::abort_transaction);
    EXPECT_THAT(error.text(), HasSubstr("row 1 of hufu.stock is at version 2, not 1"));
    EXPECT_EQ(error_of([&] { advance_version(tx, place, "9", 1); }).code(), ErrorCode::not_found);
}

TEST_F(PostgresLocks, LockRows) {
    pqxx::connection one{url_};
    pqxx::connection two{url_};
    const RowPlace place{.table = "stock"};
    pqxx::work first{one};
    EXPECT_TRUE(lock_row(first, place, "1", 1s));
    EXPECT_FALSE(lock_row(first, place, "9", 1s));
    pqxx::work second{two};
    const auto error = error_of([&] { lock_row(second, place, "1", 10ms); });
    EXPECT_EQ(error.code(), ErrorCode::busy);
    EXPECT_EQ(error.disposition(), Disposition::abort_transaction);
}

}  // namespace
}  // namespace hufu::postgres
