// The order service over real HTTP and a real SQLite file, asked with idempotency keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "http/client.hpp"
#include "http/server.hpp"
#include "roles/keyed_requests.hpp"

namespace shop {
namespace {

using ::testing::HasSubstr;

constexpr const char* order_body = R"({"id":"o-1","amount":500,"sku":"tea","quantity":2})";

class KeyedRequests : public testing::Test {
protected:
    void SetUp() override { store_->prepare(role_.tables); }

    HttpResponse post(const std::string& target, const std::string& body, const std::string& key) {
        if (!server_) {
            server_ = HttpServer::listen({}, role_.application, keyed_application(role_, *store_, edge_)).value();
            client_ = std::make_unique<HttpClient>("127.0.0.1", server_->port(), std::chrono::seconds{10});
        }
        return client_->send({"POST", target, body, key}).value();
    }
    std::int64_t count(std::string_view sql) {
        std::int64_t result = 0;
        store_->read([&](Transaction& tx) { result = tx.run(sql).front().integer(0); });
        return result;
    }

    static std::string fresh() {
        const auto path = testing::TempDir() + "keyed_requests.db";
        for (const auto* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
        return "sqlite:" + path;
    }

    std::unique_ptr<Store> store_ = open_store(fresh());
    Role role_ = order_role(*store_, {});
    hufu::idempotency::HttpGuard edge_{edge_options()};
    std::unique_ptr<HttpServer> server_;
    std::unique_ptr<HttpClient> client_;
};

TEST_F(KeyedRequests, GetTheirFirstAnswerAgain) {
    const auto first = post("/orders", order_body, "k-1");
    EXPECT_EQ(first.status, 201U);
    EXPECT_FALSE(first.replayed);
    EXPECT_EQ(post("/orders/o-1/pay", "", "k-2").status, 200U);
    const auto again = post("/orders", order_body, "k-1");
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(again.body, first.body);
    // The order is on its way to be paid; without the key a second request would be told what it is now.
    const auto paid = post("/orders/o-1/pay", "", "k-2");
    EXPECT_TRUE(paid.replayed);
    EXPECT_EQ(count("select count(*) from events where kind = 'order.payment_requested'"), 1);
}

TEST_F(KeyedRequests, KeepARefusalToo) {
    EXPECT_EQ(post("/orders/o-1/pay", "", "k-1").status, 404U);
    EXPECT_EQ(post("/orders", order_body, "k-2").status, 201U);
    const auto again = post("/orders/o-1/pay", "", "k-1");
    EXPECT_EQ(again.status, 404U);
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(post("/orders/o-1/pay", "", "k-3").status, 200U);
}

TEST_F(KeyedRequests, RefuseAKeyOfAnotherRequest) {
    EXPECT_EQ(post("/orders", order_body, "k-1").status, 201U);
    const auto other = post("/orders", R"({"id":"o-2","amount":500,"sku":"tea","quantity":2})", "k-1");
    EXPECT_EQ(other.status, 422U);
    EXPECT_THAT(other.body, HasSubstr(R"("field":"idempotency-key")"));
    EXPECT_EQ(count("select count(*) from orders"), 1);
}

TEST_F(KeyedRequests, AreNotTakenWhereTheyWouldDoNothing) {
    role_ = stock_role(*store_);
    const auto refused = post("/stock/tea", "", "k-1");
    EXPECT_EQ(refused.status, 400U);
    EXPECT_THAT(refused.body, HasSubstr("in mode outbox only"));
}

}  // namespace
}  // namespace shop
