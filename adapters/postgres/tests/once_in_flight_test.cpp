#include <hufu/postgres/once_in_flight.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <hufu/postgres/once.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using idempotency::EffectResult;

class OnceInFlight : public testing::Test {
protected:
    void SetUp() override { connection_->run_script("create table effects(body text unique)").value(); }

    Delivery delivery(std::string body) {
        Delivery made;
        made.message = message("orders", "", std::move(body));
        made.message.id = MessageIdGenerator{system_clock(), system_random()}.next();
        made.stored_at = system_clock().system_now();
        return made;
    }
    static EffectResult insert(Transaction& tx, const Message& message) {
        tx.run("insert into effects values ($1::text)", parameters(message.body));
        return {Handled::done, std::string{"kept\0bytes", 10}};
    }
    idempotency::OnceOutcome deliver(const Delivery& one) {
        return run_once_in_flight(pool_, {"stock", one.message.id}, idempotency::first_stored_at(one),
                                  [&](Transaction& tx) { return insert(tx, one.message); });
    }
    std::string effects() { return value_of(*connection_, "select count(*) from effects"); }

    std::string url_ = migrated_database();
    std::unique_ptr<Connection> connection_ = connect(url_);
    FlightPool pool_{url_};
};

TEST_F(OnceInFlight, GivesADuplicateTheStoredResult) {
    const auto first = delivery("a");
    EXPECT_EQ(deliver(first).handled, Handled::done);
    const auto again = deliver(first);
    EXPECT_EQ(again.handled, Handled::already_done);
    EXPECT_EQ(again.result, std::string("kept\0bytes", 10));
    EXPECT_EQ(once_in_flight(pool_, "stock", insert)(delivery("b")).handled, Handled::done);
    EXPECT_EQ(effects(), "2");
}

TEST_F(OnceInFlight, SharesItsRowsWithTheOtherForm) {
    const auto first = delivery("a");
    EXPECT_EQ(deliver(first).handled, Handled::done);
    ConnectionPool pool{url_};
    const auto outcome = run_once(pool, {"stock", first.message.id}, idempotency::first_stored_at(first),
                                  [](pqxx::work&) -> EffectResult { return Handled::done; });
    EXPECT_EQ(outcome.handled, Handled::already_done);
    EXPECT_EQ(outcome.result, std::string("kept\0bytes", 10));
}

TEST_F(OnceInFlight, HasOneEffectUnderConcurrentDuplicates) {
    std::vector<Delivery> all;
    for (int i = 0; i < 20; ++i) all.push_back(delivery(std::to_string(i)));
    std::atomic<int> done{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (const auto& one : all) {
                if (deliver(one).handled == Handled::done) ++done;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(done, 20);
    EXPECT_EQ(effects(), "20");
}

TEST_F(OnceInFlight, LeavesNothingOfAnEffectThatFails) {
    const auto first = delivery("a");
    const auto run = [&](const std::function<EffectResult(Transaction&)>& effect) {
        return run_once_in_flight(pool_, {"stock", first.message.id}, first.stored_at, effect);
    };
    EXPECT_EQ(run([&](Transaction& tx) {
                  insert(tx, first.message);
                  return EffectResult{Handled::retry, {}, "closed"};
              }).handled,
              Handled::retry);
    EXPECT_THROW(static_cast<void>(run([&](Transaction& tx) -> EffectResult {
                     tx.query("insert into effects values ('x') returning 1");
                     throw std::runtime_error{"boom"};
                 })),
                 std::runtime_error);
    EXPECT_EQ(effects(), "0");
    EXPECT_EQ(deliver(first).handled, Handled::done);
}

TEST_F(OnceInFlight, TellsTheEffectsOwnConflictFromADuplicate) {
    EXPECT_EQ(deliver(delivery("a")).handled, Handled::done);
    const auto same_body = deliver(delivery("a"));
    EXPECT_EQ(same_body.handled, Handled::reject);
    EXPECT_THAT(same_body.reason, testing::HasSubstr("effects_body_key"));
}

TEST_F(OnceInFlight, FindsADuplicateAtTheEffectsFirstQuestion) {
    const auto first = delivery("a");
    EXPECT_EQ(deliver(first).handled, Handled::done);
    const auto again =
        run_once_in_flight(pool_, {"stock", first.message.id}, first.stored_at, [](Transaction& tx) -> EffectResult {
            tx.query("select 1");
            ADD_FAILURE() << "the effect went on";
            return Handled::done;
        });
    EXPECT_EQ(again.handled, Handled::already_done);
}

TEST_F(OnceInFlight, RejectsWhatIsOlderThanTheHorizon) {
    auto old = delivery("a");
    old.message.id = MessageId{{1}};  // minted long ago
    old.stored_at -= std::chrono::hours{3};
    EXPECT_EQ(deliver(old).handled, Handled::done);
    connection_->run_script("update hufu.guard set seen_at = seen_at - interval '2 hours'").value();
    ConnectionPool pool{url_};
    EXPECT_EQ(purge_guards(pool, "stock", std::chrono::hours{1}).value().rows, 1U);
    const auto late = deliver(old);
    EXPECT_EQ(late.handled, Handled::reject);
    EXPECT_THAT(late.reason, testing::HasSubstr("horizon of group \"stock\""));
    EXPECT_EQ(deliver(delivery("b")).handled, Handled::done);
}

}  // namespace
}  // namespace hufu::postgres
