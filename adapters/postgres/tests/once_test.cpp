#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <hufu/postgres/once.hpp>
#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/store.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using testing::HasSubstr;

class Once : public testing::Test {
protected:
    void SetUp() override { connection->run_script("create table effects(body text)").value(); }

    Delivery delivery(std::string body) {
        Delivery made;
        made.message = message("orders", "", std::move(body));
        made.message.id = MessageIdGenerator{system_clock(), system_random()}.next();
        made.stored_at = system_clock().system_now();
        return made;
    }
    static idempotency::EffectResult insert(pqxx::work& work, const Message& message) {
        work.exec_params("insert into effects values ($1)", message.body);
        return Handled::done;
    }
    std::string effects() { return value_of(*connection, "select count(*) from effects"); }

    std::string url = migrated_database();
    std::unique_ptr<Connection> connection = connect(url);
    ConnectionPool pool{url};
};

TEST_F(Once, AbsorbsDuplicates) {
    const Handler handler = once(pool, "stock", insert);
    const auto first = delivery("a");
    EXPECT_EQ(handler(first).handled, Handled::done);
    EXPECT_EQ(handler(first).handled, Handled::already_done);
    EXPECT_EQ(handler(delivery("b")).handled, Handled::done);
    EXPECT_EQ(once(url, "payment", insert)(first).handled, Handled::done);
    EXPECT_EQ(effects(), "3");
}

TEST_F(Once, HasOneEffectUnderConcurrentDuplicates) {
    const auto one = delivery("a");
    std::atomic<int> done{0};
    std::atomic<int> absorbed{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 8; ++i) {
            threads.emplace_back([&] {
                const auto handled = once(pool, "stock", insert)(one).handled;
                done += handled == Handled::done;
                absorbed += handled == Handled::already_done;
            });
        }
    }
    EXPECT_EQ(done, 1);
    EXPECT_EQ(absorbed, 7);
    EXPECT_EQ(effects(), "1");
}

TEST_F(Once, AnswersADuplicateWithTheStoredResult) {
    const idempotency::GuardKey key{"stock", delivery("a").message.id};
    const std::string bytes{"paid \0\xFF", 7};
    const auto effect = [&](pqxx::work&) { return idempotency::EffectResult{Handled::done, bytes}; };
    EXPECT_EQ(run_once(pool, key, system_clock().system_now(), effect).handled, Handled::done);
    const auto again = run_once(pool, key, system_clock().system_now(), effect);
    EXPECT_EQ(again.handled, Handled::already_done);
    EXPECT_EQ(again.result, bytes);
}

TEST_F(Once, LeavesNothingOfAnEffectThatFails) {
    const auto one = delivery("a");
    bool fail = true;
    const Handler handler = once(pool, "stock", [&](pqxx::work& work, const Message& message) {
        Outbox{}.append(work, hufu::postgres::message("payments", "", "outgoing"));
        auto result = insert(work, message);
        if (fail) throw std::runtime_error{"no stock"};
        return result;
    });
    EXPECT_THROW((void)handler(one), std::runtime_error);
    EXPECT_EQ(effects(), "0");
    EXPECT_EQ(Store{url}.status().value().pending, 0U);
    fail = false;
    EXPECT_EQ(handler(one).handled, Handled::done);
    EXPECT_EQ(effects(), "1");
    EXPECT_EQ(Store{url}.status().value().pending, 1U);
}

TEST_F(Once, RefusesWhatMayHaveBeenPurged) {
    const auto one = delivery("a");
    const Handler handler = once(pool, "stock", insert);
    EXPECT_EQ(handler(one).handled, Handled::done);
    connection->run("update hufu.guard set seen_at = seen_at - interval '3 hours'").value();
    const auto purged = purge_guards(pool, "stock", std::chrono::hours{2}).value();
    EXPECT_EQ(purged.rows, 1U);
    auto old = one;
    old.stored_at = purged.horizon - std::chrono::seconds{1};
    const auto refused = handler(old);
    EXPECT_EQ(refused.handled, Handled::reject);
    EXPECT_THAT(refused.reason, HasSubstr("horizon"));
    EXPECT_EQ(effects(), "1");
    EXPECT_EQ(purge_guards(pool, "stock", std::chrono::hours{0}).error().code(), ErrorCode::invalid_argument);
}

TEST_F(Once, AsksForARetryWhenTheDatabaseIsAway) {
    ConnectionPool nowhere{"postgresql://hufu@127.0.0.1:1/none"};
    const auto result = once(nowhere, "stock", insert)(delivery("a"));
    EXPECT_EQ(result.handled, Handled::retry);
    EXPECT_THAT(result.reason, HasSubstr("connect"));
}

}  // namespace
}  // namespace hufu::postgres
