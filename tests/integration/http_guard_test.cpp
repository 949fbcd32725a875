// The HTTP edge over real sockets: on PostgreSQL, where the answer commits with the changes, and on leases in Redis.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/beast/http/write.hpp>
#include <pqxx/pqxx>

#include <future>
#include <optional>
#include <sstream>
#include <thread>

#include <hufu/beast/http_guard.hpp>
#include <hufu/postgres/once.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/redis/leases.hpp>
#include <hufu/test_support/postgres_server.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "plain_http.hpp"

namespace hufu {
namespace {

using namespace std::chrono_literals;
using beast::Request;
using beast::Response;
using idempotency::HttpCall;
using idempotency::HttpReply;
using ::testing::HasSubstr;

Response plain(unsigned status, std::string body) {
    Response response;
    response.result(status);
    response.set("Content-Type", "text/plain");
    response.set("X-Order", "7");
    response.body() = std::move(body);
    return response;
}

/// Holds an application until the test lets it go on.
struct Gate {
    std::promise<void> entered;
    std::promise<void> open;
    std::shared_future<void> opened{open.get_future()};
};

class OverPostgres : public ::testing::Test {
protected:
    static void SetUpTestSuite() { server = std::make_unique<test_support::PostgresServer>(); }
    static void TearDownTestSuite() { server.reset(); }
    void SetUp() override {
        postgres::migrate(url_).value();
        pqxx::connection connection{url_};
        pqxx::nontransaction{connection}.exec("create table orders(note text)");
    }

    Response place(pqxx::work& tx, const Request& request) {
        if (gate_) {
            gate_->entered.set_value();
            gate_->opened.wait();
        }
        tx.exec_params("insert into orders values ($1)", request.body());
        if (request.body() == "fails") return plain(503, "the stock service is away");
        if (request.body() == "huge") return plain(200, std::string(5000, 'x'));
        return plain(201, "order " + request.body());
    }
    int orders() {
        pqxx::connection connection{url_};
        return pqxx::nontransaction{connection}.exec("select count(*) from orders")[0][0].as<int>();
    }

    static std::unique_ptr<test_support::PostgresServer> server;
    std::string url_ = server->create_database();
    postgres::ConnectionPool pool_{url_};
    idempotency::HttpGuard edge_{{.group = "orders", .reply_bytes_max = 4096, .retry_after = 2s}};
    std::optional<Gate> gate_;
    // [beast-middleware]
    test_http::Server http_{beast::guarded<pqxx::work&>(
        [this](const HttpCall& call, const std::function<HttpReply(pqxx::work&)>& run) {
            return postgres::answer_once(pool_, edge_, call, 100ms, run);
        },
        [this](pqxx::work& tx, const Request& request) { return place(tx, request); },
        [](const Request& request) { return std::string{request["X-Account"]}; })};
    // [/beast-middleware]
};
std::unique_ptr<test_support::PostgresServer> OverPostgres::server;

TEST_F(OverPostgres, GivesARepeatedRequestTheFirstAnswerByteForByte) {
    test_http::Client client{http_.port()};
    const auto first = client.post("/orders", "tea", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(first.result_int(), 201U);
    EXPECT_EQ(first.count("Idempotent-Replayed"), 0U);
    auto again = client.post("/orders", "tea", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(again["Idempotent-Replayed"], "true");
    again.erase("Idempotent-Replayed");
    const auto bytes = [](const Response& response) {
        std::ostringstream text;
        text << response;
        return text.str();
    };
    EXPECT_EQ(bytes(again), bytes(first));
    EXPECT_EQ(orders(), 1);
}

TEST_F(OverPostgres, RefusesAKeyWithAnotherPayloadAndKeepsCallersApart) {
    test_http::Client client{http_.port()};
    EXPECT_EQ(client.post("/orders", "tea", {{"Idempotency-Key", "k"}}).result_int(), 201U);
    const auto other = client.post("/orders", "coffee", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(other.result_int(), 422U);
    EXPECT_THAT(other.body(), HasSubstr("a new request needs a new key"));
    EXPECT_EQ(client.post("/orders", "coffee", {{"Idempotency-Key", "k"}, {"X-Account", "7"}}).result_int(), 201U);
    EXPECT_EQ(orders(), 2);
}

TEST_F(OverPostgres, AnswersARepeatedRequestWith409WhileTheFirstOneRuns) {
    gate_.emplace();
    auto running = std::async(std::launch::async, [&] {
        return test_http::Client{http_.port()}.post("/orders", "tea", {{"Idempotency-Key", "k"}});
    });
    gate_->entered.get_future().wait();
    test_http::Client client{http_.port()};
    const auto busy = client.post("/orders", "tea", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(busy.result_int(), 409U);
    EXPECT_EQ(busy["Retry-After"], "2");
    gate_->open.set_value();
    EXPECT_EQ(running.get().result_int(), 201U);
    EXPECT_EQ(client.post("/orders", "tea", {{"Idempotency-Key", "k"}})["Idempotent-Replayed"], "true");
    EXPECT_EQ(orders(), 1);
}

TEST_F(OverPostgres, RollsBackWhatFailsAndWhatIsTooLargeToKeep) {
    test_http::Client client{http_.port()};
    const auto failed = client.post("/orders", "fails", {{"Idempotency-Key", "f"}});
    EXPECT_EQ(failed.result_int(), 503U);
    EXPECT_EQ(failed.body(), "the stock service is away");
    const auto huge = client.post("/orders", "huge", {{"Idempotency-Key", "h"}});
    EXPECT_EQ(huge.result_int(), 500U);
    EXPECT_THAT(huge.body(), HasSubstr("too large to be kept"));
    EXPECT_THAT(huge.body(), HasSubstr("the limit is 4096"));
    EXPECT_EQ(orders(), 0);
}

TEST_F(OverPostgres, RefusesKeysThatAreEmptyOrGiant) {
    test_http::Client client{http_.port()};
    EXPECT_EQ(client.post("/orders", "tea", {{"Idempotency-Key", ""}}).result_int(), 400U);
    const auto giant = client.post("/orders", "tea", {{"Idempotency-Key", std::string(300, 'k')}});
    EXPECT_EQ(giant.result_int(), 400U);
    EXPECT_THAT(giant.body(), HasSubstr("has 300 bytes; it has 1 to 255"));
    EXPECT_EQ(orders(), 0);
    EXPECT_EQ(client.post("/orders", "tea").result_int(), 201U);
    EXPECT_EQ(client.post("/orders", "tea").result_int(), 201U);  // without a key each is a new one
    EXPECT_EQ(orders(), 2);
}

TEST_F(OverPostgres, HasOneEffectForManyAtTheSameTime) {
    std::vector<std::jthread> clients;
    std::atomic<int> created{0};
    for (int i = 0; i < 8; ++i) {
        clients.emplace_back([&] {
            test_http::Client client{http_.port()};
            for (int key = 0; key < 20; ++key) {
                const auto answer = client.post("/orders", "tea", {{"Idempotency-Key", "k" + std::to_string(key)}});
                if (answer.result_int() == 201 && answer.count("Idempotent-Replayed") == 0) ++created;
            }
        });
    }
    clients.clear();
    EXPECT_EQ(created, 20);
    EXPECT_EQ(orders(), 20);
}

class OverRedis : public ::testing::Test {
protected:
    test_support::RedisServer server_;
    redis::Client client_{server_.url(), {.command_timeout = 500ms}};
    redis::Leases leases_{client_};
    idempotency::LeaseGuard guard_{
        leases_, {.group = "mails", .grade = idempotency::Grade::best_effort}, {.result_bytes_max = 4096}};
    idempotency::HttpGuard edge_{{.group = "mails", .key_required = true}};
    std::optional<Gate> gate_;
    std::atomic<int> mails_{0};
    test_http::Server http_{beast::guarded<>(
        [this](const HttpCall& call, const std::function<HttpReply()>& run) {
            return idempotency::answer_under_lease(edge_, guard_, call, run);
        },
        [this](const Request& request) {
            if (gate_) {
                gate_->entered.set_value();
                gate_->opened.wait();
            }
            ++mails_;
            return plain(202, request.body() == "huge" ? std::string(5000, 'x') : "sent " + request.body());
        })};
};

TEST_F(OverRedis, ReplaysRefusesAndAsksToComeAgain) {
    gate_.emplace();
    auto running = std::async(std::launch::async, [&] {
        return test_http::Client{http_.port()}.post("/mails", "to alice", {{"Idempotency-Key", "k"}});
    });
    gate_->entered.get_future().wait();
    test_http::Client client{http_.port()};
    const auto busy = client.post("/mails", "to alice", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(busy.result_int(), 409U);
    EXPECT_EQ(busy["Retry-After"], "5");
    EXPECT_EQ(client.post("/mails", "to bob", {{"Idempotency-Key", "k"}}).result_int(), 422U);
    gate_->open.set_value();
    EXPECT_EQ(running.get().result_int(), 202U);
    gate_.reset();
    const auto again = client.post("/mails", "to alice", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(again.result_int(), 202U);
    EXPECT_EQ(again["Idempotent-Replayed"], "true");
    EXPECT_EQ(again.body(), "sent to alice");
    EXPECT_EQ(client.post("/mails", "to alice").result_int(), 400U);  // this edge wants a key
    EXPECT_EQ(mails_, 1);
}

TEST_F(OverRedis, SaysThatAnAnswerWasTooLargeToKeep) {
    test_http::Client client{http_.port()};
    EXPECT_EQ(client.post("/mails", "huge", {{"Idempotency-Key", "h"}}).body().size(), 5000U);
    const auto again = client.post("/mails", "huge", {{"Idempotency-Key", "h"}});
    EXPECT_EQ(again.result_int(), 500U);
    EXPECT_THAT(again.body(), HasSubstr("its answer was not kept"));
    EXPECT_EQ(mails_, 1);
}

TEST_F(OverRedis, RunsNothingWhileRedisIsAway) {
    test_http::Client client{http_.port()};
    server_.kill();
    const auto away = client.post("/mails", "to alice", {{"Idempotency-Key", "k"}});
    EXPECT_EQ(away.result_int(), 503U);
    EXPECT_EQ(away["Retry-After"], "1");
    EXPECT_EQ(mails_, 0);
}

}  // namespace
}  // namespace hufu
