// The HTTP edge in one flight. What both forms share is tested over sockets in tests/integration/http_guard_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include <hufu/postgres/once.hpp>
#include <hufu/postgres/once_in_flight.hpp>

#include "server.hpp"

namespace hufu::postgres {
namespace {

using namespace std::chrono_literals;
using idempotency::HttpCall;
using idempotency::HttpReply;
using ::testing::HasSubstr;

class AnswerOnceInFlight : public testing::Test {
protected:
    void SetUp() override { connection_->run_script("create table orders(note text unique)").value(); }

    static HttpCall call(std::string key, std::string body) {
        return {.method = "POST", .target = "/orders", .key = std::move(key), .body = std::move(body)};
    }
    static HttpReply place(Transaction& tx, const std::string& note, unsigned status = 201) {
        tx.run("insert into orders values ($1::text)", parameters(note));
        return {.status = status, .headers = {{"X-Order", "7"}}, .body = "order " + note};
    }
    HttpReply ask(const HttpCall& one, unsigned status = 201) {
        return answer_once(pool_, edge_, one, 100ms, [&](Transaction& tx) { return place(tx, one.body, status); });
    }
    std::string orders() { return value_of(*connection_, "select count(*) from orders"); }

    std::string url_ = migrated_database();
    std::unique_ptr<Connection> connection_ = connect(url_);
    FlightPool pool_{url_};
    idempotency::HttpGuard edge_{{.group = "orders", .reply_bytes_max = 4096, .retry_after = 2s}};
};

TEST_F(AnswerOnceInFlight, GivesARepeatedRequestTheFirstAnswer) {
    EXPECT_FALSE(ask(call("k", "tea")).replayed);
    const auto again = ask(call("k", "tea"));
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(again.status, 201U);
    EXPECT_EQ(again.body, "order tea");
    EXPECT_THAT(again.headers, testing::ElementsAre(testing::Pair("X-Order", "7")));
    EXPECT_EQ(ask(call("k", "coffee")).status, 422U);
    EXPECT_EQ(orders(), "1");
}

TEST_F(AnswerOnceInFlight, SharesItsAnswersWithTheOtherForm) {
    EXPECT_EQ(ask(call("k", "tea")).status, 201U);
    ConnectionPool pool{url_};
    const auto again = answer_once(pool, edge_, call("k", "tea"), 100ms, [](pqxx::work&) -> HttpReply {
        ADD_FAILURE() << "ran again";
        return {};
    });
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(again.body, "order tea");
}

TEST_F(AnswerOnceInFlight, AnswersARepeatedRequestWith409WhileTheFirstOneRuns) {
    std::promise<void> entered, open;
    auto first = std::async(std::launch::async, [&] {
        return answer_once(pool_, edge_, call("k", "tea"), 100ms, [&](Transaction& tx) {
            tx.query("select 1");  // sends the guard row
            entered.set_value();
            open.get_future().wait();
            return place(tx, "tea");
        });
    });
    entered.get_future().wait();
    const auto busy = ask(call("k", "tea"));
    EXPECT_EQ(busy.status, 409U);
    EXPECT_EQ(busy.retry_after, 2s);
    EXPECT_EQ(ask(call("another", "coffee")).status, 201U);
    open.set_value();
    EXPECT_EQ(first.get().status, 201U);
    EXPECT_TRUE(ask(call("k", "tea")).replayed);
    EXPECT_EQ(orders(), "2");
}

TEST_F(AnswerOnceInFlight, RollsBackWhatFailsAndWhatIsTooLargeToKeep) {
    EXPECT_EQ(ask(call("f", "tea"), 503).status, 503U);
    const auto huge = answer_once(pool_, edge_, call("h", "tea"), 100ms, [&](Transaction& tx) {
        auto reply = place(tx, "tea");
        reply.body.resize(5000);
        return reply;
    });
    EXPECT_EQ(huge.status, 500U);
    EXPECT_THAT(huge.body, HasSubstr("the limit is 4096"));
    EXPECT_EQ(orders(), "0");
    EXPECT_EQ(ask(call("f", "tea")).status, 201U);
}

TEST_F(AnswerOnceInFlight, ThrowsWhatTheDatabaseRefusesAndKeepsNoAnswer) {
    EXPECT_EQ(ask(call("a", "tea")).status, 201U);
    try {
        static_cast<void>(ask(call("b", "tea")));
        FAIL() << "the second order of the same note was placed";
    } catch (const Exception& refused) {
        EXPECT_EQ(refused.error().disposition(), Disposition::reject);
        EXPECT_THAT(refused.error().text(), HasSubstr("orders_note_key"));
    }
    connection_->run("delete from orders").value();
    EXPECT_FALSE(ask(call("b", "tea")).replayed);
    EXPECT_EQ(orders(), "1");
}

TEST_F(AnswerOnceInFlight, RunsARequestWithoutAKeyPlainly) {
    HttpCall plain = call("", "tea");
    plain.key.reset();
    EXPECT_EQ(ask(plain, 500).status, 500U);
    EXPECT_EQ(orders(), "0");
    EXPECT_EQ(ask(plain).status, 201U);
    EXPECT_EQ(orders(), "1");
    EXPECT_EQ(ask(call("", "tea")).status, 400U);  // an empty key is none
}

TEST_F(AnswerOnceInFlight, Answers503WithoutTheDatabase) {
    FlightPool away{"postgresql://127.0.0.1:1/none"};
    const auto reply = answer_once(away, edge_, call("k", "tea"), 100ms, [](Transaction&) -> HttpReply {
        ADD_FAILURE() << "ran";
        return {};
    });
    EXPECT_EQ(reply.status, 503U);
}

TEST_F(AnswerOnceInFlight, HasOneEffectForManyAtTheSameTime) {
    std::atomic<int> created{0};
    std::vector<std::jthread> clients;
    for (int i = 0; i < 6; ++i) {
        clients.emplace_back([&] {
            for (int n = 0; n < 10; ++n) {
                const auto reply = ask(call("k" + std::to_string(n), std::to_string(n)));
                if (reply.status == 201 && !reply.replayed) ++created;
            }
        });
    }
    clients.clear();
    EXPECT_EQ(created, 10);
    EXPECT_EQ(orders(), "10");
}

}  // namespace
}  // namespace hufu::postgres
