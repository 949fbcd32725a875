// A duplicate that arrives while its guard row is being cleaned up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <functional>
#include <future>
#include <thread>

#include <hufu/postgres/once.hpp>
#include <hufu/postgres/once_in_flight.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class GuardHorizon : public testing::Test {
protected:
    void SetUp() override {
        connection_->run_script("create table effects(body text)").value();
        old_.message = message("orders", "", "a");
        old_.message.id = MessageIdGenerator{system_clock(), system_random()}.next();
        old_.stored_at = system_clock().system_now() - 3h;
        connection_
            ->run("insert into hufu.guard(consumer_group, message_id) values ('stock', $1::uuid)",
                  parameters(old_.message.id.to_string()))
            .value();
    }

    void wait_for_a_blocked_session() {
        auto watching = connect(url_);
        while (value_of(*watching,
                        "select count(*) from pg_stat_activity where datname = current_database() and "
                        "wait_event_type = 'Lock'") == "0") {
            std::this_thread::yield();
        }
    }
    /// Delivers the duplicate between the deletion of its row and that transaction's end. The statement that inserts the guard
    /// row has begun before the horizon is raised.
    HandlerResult deliver_during_the_clean_up(const std::function<HandlerResult()>& deliver) {
        connection_->run("begin").value();
        connection_->run("delete from hufu.guard").value();
        auto outcome = std::async(std::launch::async, deliver);
        wait_for_a_blocked_session();
        connect(url_)
            ->run(
                "insert into hufu.guard_horizon(consumer_group, horizon) values ('stock', clock_timestamp() - interval '1 "
                "hour')")
            .value();
        connection_->run("commit").value();
        return outcome.get();
    }
    void expect_refused(const HandlerResult& outcome) {
        EXPECT_EQ(outcome.handled, Handled::reject);
        EXPECT_THAT(outcome.reason, HasSubstr("horizon of group \"stock\""));
        EXPECT_EQ(value_of(*connection_, "select count(*) from effects"), "0");
    }
    static idempotency::EffectResult on_pqxx(pqxx::work& tx, const Message& message) {
        tx.exec_params("insert into effects values ($1)", message.body);
        return Handled::done;
    }

    std::string url_ = migrated_database();
    std::unique_ptr<Connection> connection_ = connect(url_);
    ConnectionPool pool_{url_};
    Delivery old_;
};

TEST_F(GuardHorizon, IsReadAfterTheInsertHasWaitedForTheCleanUp) {
    expect_refused(deliver_during_the_clean_up([&] { return once(pool_, "stock", on_pqxx)(old_); }));
}

TEST_F(GuardHorizon, IsReadAfterABatchHasWaitedForTheCleanUp) {
    expect_refused(deliver_during_the_clean_up([&] {
        const Delivery* const batch[] = {&old_};
        return once_batch(pool_, "stock", on_pqxx)(batch).front();
    }));
}

TEST_F(GuardHorizon, IsReadAfterAFlightHasWaitedForTheCleanUp) {
    FlightPool flights{url_};
    const auto effect = [](Transaction& tx, const Message& message) -> idempotency::EffectResult {
        tx.run("insert into effects values ($1::text)", parameters(message.body));
        return Handled::done;
    };
    expect_refused(deliver_during_the_clean_up([&] { return once_in_flight(flights, "stock", effect)(old_); }));
}

}  // namespace
}  // namespace hufu::postgres
