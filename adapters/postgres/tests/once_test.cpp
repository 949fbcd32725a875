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
    auto one = delivery("a");
    one.message.id = MessageId{{1}};  // minted long ago
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

TEST_F(Once, PurgesInSlicesOldIdsWithATimeAndOldIdsWithout) {
    // 40 messages of four days ago and 30 of now, with ids that carry their time; of each also ids that do not.
    connection
        ->run_script(
            "insert into hufu.guard(consumer_group, message_id, seen_at) "
            "select 'stock', overlay(hufu.new_message_id()::text placing "
            "lpad(to_hex((extract(epoch from clock_timestamp() - interval '4 days') * 1000)::bigint >> 16), 8, '0') "
            "from 1 for 8)::uuid, clock_timestamp() - interval '4 days' from generate_series(1, 40);"
            "insert into hufu.guard(consumer_group, message_id) select 'stock', hufu.new_message_id() "
            "from generate_series(1, 30);"
            "insert into hufu.guard(consumer_group, message_id, seen_at) select 'stock', gen_random_uuid(), "
            "clock_timestamp() - case when n % 2 = 0 then interval '4 days' else interval '0' end "
            "from generate_series(1, 20) n;"
            "insert into hufu.guard(consumer_group, message_id, seen_at) select 'other', gen_random_uuid(), "
            "clock_timestamp() - interval '4 days' from generate_series(1, 5)")
        .value();
    const idempotency::GuardDeclaration three_days{.group = "stock", .window = std::chrono::hours{72}};
    EXPECT_EQ(purge_guards(pool, three_days, 7).value().rows, 50U);
    EXPECT_EQ(value_of(*connection, "select count(*) from hufu.guard where consumer_group = 'stock'"), "40");
    EXPECT_EQ(value_of(*connection, "select count(*) from hufu.guard where consumer_group = 'other'"), "5");
    EXPECT_EQ(purge_guards(pool, three_days, 7).value().rows, 0U);
    EXPECT_THAT(guard_groups(pool).value(), testing::ElementsAre("other", "stock"));
}

TEST_F(Once, IsRefusedAtTheStartWhenItForgetsBeforeTheLastDuplicate) {
    const idempotency::GuardDeclaration short_window{
        .group = "stock", .window = std::chrono::hours{24}, .duplicates = {.replay = std::chrono::hours{24}}};
    try {
        static_cast<void>(once(pool, short_window, insert));
        FAIL() << "was taken";
    } catch (const Exception& refused) {
        EXPECT_THAT(refused.error().text(),
                    HasSubstr("it forgets a message after 1 d, but a duplicate may come 1 d 4 h 45 min"));
    }
    EXPECT_EQ(purge_guards(pool, short_window).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(once(pool, idempotency::GuardDeclaration{.group = "stock"}, insert)(delivery("a")).handled, Handled::done);
}

TEST_F(Once, AsksForARetryWhenTheDatabaseIsAway) {
    ConnectionPool nowhere{"postgresql://hufu@127.0.0.1:1/none"};
    const auto result = once(nowhere, "stock", insert)(delivery("a"));
    EXPECT_EQ(result.handled, Handled::retry);
    EXPECT_THAT(result.reason, HasSubstr("connect"));
}

}  // namespace
}  // namespace hufu::postgres
