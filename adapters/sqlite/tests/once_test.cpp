#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include <hufu/sqlite/once.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>

#include "tests/temporary_folder.hpp"

namespace hufu::sqlite {
namespace {

using idempotency::EffectResult;
using idempotency::GuardKey;
using testing::HasSubstr;

/// Stands where it is put.
class StillClock final : public Clock {
public:
    SystemTime system_now() const noexcept override { return now; }
    SteadyTime steady_now() const noexcept override { return {}; }
    void sleep_until(SteadyTime, std::stop_token) override {}
    SystemTime now{std::chrono::hours{24 * 365 * 56}};
};

class SqliteOnce : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_TRUE(migrate(database_));
        Transaction tx{database_};
        tx.execute("create table effects(id integer primary key, what text)");
        tx.commit();
    }
    static Delivery delivery(std::uint8_t number, SystemTime stored_at) {
        Delivery made;
        made.message = {.id = MessageId{{number}}, .topic = "orders", .body = "o"};
        made.stored_at = stored_at;
        return made;
    }
    Handler handler() {
        return once(database_, "stock", [this](Transaction& tx, const Message& message) {
            tx.execute("insert into effects(what) values (?)", message.body);
            outbox_.append(tx, {.topic = "reserved"});
            return Handled::done;
        });
    }
    std::int64_t count(const std::string& table) {
        Transaction tx{database_, Transaction::Access::read};
        auto rows = tx.query("select count(*) from " + table);
        rows.step();
        return rows.integer(0);
    }

    TemporaryFolder folder_;
    StillClock clock_;
    Database database_{folder_.file("stock.db"), {.clock = &clock_}};
    Outbox outbox_{clock_};
};

TEST_F(SqliteOnce, HasOneEffectAndOneOutgoingMessageForTwoDeliveries) {
    const auto handle = handler();
    EXPECT_EQ(handle(delivery(1, clock_.now)).handled, Handled::done);
    EXPECT_EQ(handle(delivery(1, clock_.now)).handled, Handled::already_done);
    EXPECT_EQ(count("effects"), 1);
    EXPECT_EQ(count("hufu_outbox"), 1);
    EXPECT_EQ(count("hufu_guard"), 1);
}

TEST_F(SqliteOnce, HasOneEffectForManyDeliveriesAtOnce) {
    const auto handle = handler();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (std::uint8_t number = 0; number < 20; ++number) {
                static_cast<void>(handle(delivery(number, clock_.now)));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(count("effects"), 20);
}

TEST_F(SqliteOnce, LeavesNothingWhenTheHandlerThrows) {
    const auto handle = once(database_, "stock", [this](Transaction& tx, const Message&) -> EffectResult {
        tx.execute("insert into effects(what) values ('x')");
        outbox_.append(tx, {.topic = "reserved"});
        throw std::runtime_error{"out of stock"};
    });
    EXPECT_THROW(static_cast<void>(handle(delivery(1, clock_.now))), std::runtime_error);
    EXPECT_EQ(count("effects"), 0);
    EXPECT_EQ(count("hufu_outbox"), 0);
    EXPECT_EQ(count("hufu_guard"), 0);
}

TEST_F(SqliteOnce, KeepsGroupsApart) {
    const GuardKey first{"stock", MessageId{{1}}};
    const GuardKey second{"payment", MessageId{{1}}};
    const auto effect = [](Transaction&) { return EffectResult{Handled::done, "answer"}; };
    EXPECT_EQ(run_once(database_, first, clock_.now, effect).handled, Handled::done);
    EXPECT_EQ(run_once(database_, second, clock_.now, effect).handled, Handled::done);
    EXPECT_EQ(run_once(database_, second, clock_.now, effect).result, "answer");
}

TEST_F(SqliteOnce, SaysRetryWhenTheFileIsBusy) {
    Database impatient{database_.path(), {.busy_timeout = std::chrono::milliseconds{10}}};
    Transaction holder{database_};
    const auto outcome = run_once(impatient, {"stock", MessageId{{1}}}, {}, [](Transaction&) { return Handled::done; });
    EXPECT_EQ(outcome.handled, Handled::retry);
    EXPECT_THAT(outcome.reason, HasSubstr("another transaction is writing"));
}

TEST_F(SqliteOnce, RejectsWhatIsOlderThanThePurgedGuards) {
    const auto stored_at = clock_.now;
    const auto handle = handler();
    EXPECT_EQ(handle(delivery(1, stored_at)).handled, Handled::done);
    clock_.now += std::chrono::hours{48};
    EXPECT_EQ(handle(delivery(2, clock_.now)).handled, Handled::done);
    const auto purged = purge_guards(database_, "stock", std::chrono::hours{24}).value();
    EXPECT_EQ(purged.rows, 1u);
    EXPECT_EQ(purged.horizon, clock_.now - std::chrono::hours{24} + clock_allowance);
    const auto late = handle(delivery(1, stored_at));
    EXPECT_EQ(late.handled, Handled::reject);
    EXPECT_THAT(late.reason, HasSubstr("horizon"));
    EXPECT_EQ(handle(delivery(2, clock_.now)).handled, Handled::already_done);
    EXPECT_EQ(count("effects"), 2);
    EXPECT_FALSE(purge_guards(database_, "stock", std::chrono::hours{0}));
}

}  // namespace
}  // namespace hufu::sqlite
