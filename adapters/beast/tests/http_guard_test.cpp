#include <gtest/gtest.h>

#include <hufu/beast/http_guard.hpp>

namespace hufu::beast {
namespace {

namespace http = boost::beast::http;

Request request(const std::string& body = "twelve roses") {
    Request request{http::verb::post, "/orders?fast=1", 11};
    request.body() = body;
    return request;
}

TEST(BeastCall, IsWhatTheGuardNeedsOfARequest) {
    auto sent = request();
    sent.set("Idempotency-Key", "k-1");
    const auto call = call_of(sent, "account-7");
    EXPECT_EQ(call.method, "POST");
    EXPECT_EQ(call.target, "/orders?fast=1");
    EXPECT_EQ(call.key, "k-1");
    EXPECT_EQ(call.caller, "account-7");
    EXPECT_EQ(call.body, "twelve roses");
}

TEST(BeastCall, TellsNoKeyFromAnEmptyOneAndJoinsSeveral) {
    auto sent = request();
    EXPECT_EQ(call_of(sent).key, std::nullopt);
    sent.set("Idempotency-Key", "");
    EXPECT_EQ(call_of(sent).key, "");
    sent.set("Idempotency-Key", "a");
    sent.insert("idempotency-key", "b");
    EXPECT_EQ(call_of(sent).key, "a, b");
}

TEST(BeastReply, KeepsHeadersButNotThoseOfTheConnection) {
    Response response;
    response.result(201);
    response.set(http::field::content_type, "application/json");
    response.insert(http::field::set_cookie, "a=1");
    response.insert(http::field::set_cookie, "b=2");
    response.set(http::field::connection, "close");
    response.body() = "{}";
    response.prepare_payload();
    const auto reply = reply_of(response);
    EXPECT_EQ(reply.status, 201U);
    EXPECT_EQ(reply.body, "{}");
    const std::vector<std::pair<std::string, std::string>> kept{
        {"Content-Type", "application/json"}, {"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}};
    EXPECT_EQ(reply.headers, kept);
}

TEST(BeastResponse, CarriesWhatTheReplySays) {
    const auto response =
        response_of({.status = 409,
                     .headers = {{"content-type", "text/plain"}, {"set-cookie", "a=1"}, {"set-cookie", "b=2"}},
                     .body = "wait",
                     .retry_after = std::chrono::seconds{3}},
                    request());
    EXPECT_EQ(response.result_int(), 409U);
    EXPECT_EQ(response[http::field::retry_after], "3");
    EXPECT_EQ(response[http::field::content_length], "4");
    EXPECT_EQ(response.count("Idempotent-Replayed"), 0U);
    EXPECT_EQ(response.count(http::field::set_cookie), 2U);
    EXPECT_EQ(response_of({.replayed = true}, request())["Idempotent-Replayed"], "true");
}

TEST(BeastMiddleware, HandsWhatTheGuardGivesToTheApplication) {
    int transaction = 41;
    idempotency::HttpCall seen;
    const auto application = guarded<int&>(
        [&](const idempotency::HttpCall& call, const std::function<idempotency::HttpReply(int&)>& run) {
            seen = call;
            return run(transaction);
        },
        [](int& tx, const Request& asked) {
            ++tx;
            Response response;
            response.result(202);
            response.body() = asked.body();
            return response;
        },
        [](const Request&) { return std::string{"account-7"}; });
    const auto response = application(request("tea"));
    EXPECT_EQ(response.result_int(), 202U);
    EXPECT_EQ(response.body(), "tea");
    EXPECT_EQ(transaction, 42);
    EXPECT_EQ(seen.caller, "account-7");
}

}  // namespace
}  // namespace hufu::beast
