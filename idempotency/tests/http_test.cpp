#include <hufu/idempotency/http.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/testing/fake_clock.hpp>

#include "tests/memory_guards.hpp"
#include "tests/memory_leases.hpp"

namespace hufu::idempotency {
namespace {

using ::testing::HasSubstr;
using Headers = std::vector<std::pair<std::string, std::string>>;

class HttpEdge : public ::testing::Test {
protected:
    static HttpCall call(std::optional<std::string> key, std::string body = "{\"amount\":5}") {
        return {.method = "POST", .target = "/orders", .key = std::move(key), .body = std::move(body)};
    }
    HttpReply created() {
        ++effects_;
        return {.status = 201, .headers = {{"location", "/orders/1"}}, .body = std::string{"{\"id\":1}\0\r\n", 11}};
    }
    /// Through a database guard in memory.
    HttpReply send(const HttpCall& one, const std::function<HttpReply()>& application) {
        auto question = edge_.read(one);
        if (question.refused()) return *question.refused();
        if (!question.guarded()) return application();
        MemoryTransaction transaction{disk_};
        return question.answer(run_once(OnceMachine{question.guard_key(), SystemTime{}}, transaction, transaction,
                                        [&] { return question.keep(application()); }));
    }
    HttpReply send(const HttpCall& one) {
        return send(one, [&] { return created(); });
    }

    HttpGuard edge_{{.group = "orders", .reply_bytes_max = 200}};
    MemoryDisk disk_;
    int effects_ = 0;
};

TEST_F(HttpEdge, ReplaysTheFirstAnswerByteForByte) {
    const auto first = send(call("k"));
    EXPECT_FALSE(first.replayed);
    const auto again = send(call("k"));
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(again.status, 201U);
    EXPECT_EQ(again.headers, (Headers{{"location", "/orders/1"}}));
    EXPECT_EQ(again.body, first.body);
    EXPECT_EQ(effects_, 1);
}

TEST_F(HttpEdge, RefusesAKeyThatWasUsedForAnotherRequest) {
    EXPECT_EQ(send(call("k")).status, 201U);
    EXPECT_EQ(send(call("k", "{\"amount\":6}")).status, 422U);
    auto other_target = call("k");
    other_target.target = "/payments";
    const auto refused = send(other_target);
    EXPECT_EQ(refused.status, 422U);
    EXPECT_THAT(refused.body, HasSubstr("\"status\":422"));
    EXPECT_EQ(effects_, 1);
}

TEST_F(HttpEdge, KeepsCallersApart) {
    auto alice = call("k");
    alice.caller = "alice";
    auto bob = call("k");
    bob.caller = "bob";
    EXPECT_FALSE(send(alice).replayed);
    EXPECT_FALSE(send(bob).replayed);
    EXPECT_EQ(effects_, 2);
}

TEST_F(HttpEdge, KeepsRefusalsOfTheApplicationButNotItsFailures) {
    EXPECT_EQ(send(call("k"), [] { return HttpReply{.status = 503, .body = "closed"}; }).body, "closed");
    EXPECT_EQ(send(call("k"), [] { return HttpReply{.status = 404, .body = "no such sku"}; }).status, 404U);
    const auto again = send(call("k"));
    EXPECT_EQ(again.status, 404U);
    EXPECT_EQ(again.body, "no such sku");
    EXPECT_EQ(effects_, 0);
}

TEST_F(HttpEdge, RefusesAnAnswerThatIsTooLargeToKeepAndChangesNothing) {
    const auto refused = send(call("k"), [] { return HttpReply{.body = std::string(300, 'x')}; });
    EXPECT_EQ(refused.status, 500U);
    EXPECT_THAT(refused.body, HasSubstr("too large to be kept"));
    EXPECT_TRUE(disk_.guards.empty());
}

TEST_F(HttpEdge, AnswersABusyStoreWith409AndADeadOneWith503) {
    const auto answer = [&](ErrorCode code) {
        auto question = edge_.read(call("k"));
        OnceOutcome outcome{Handled::retry, {}, "why"};
        outcome.error = Error{code, Disposition::retry, "why"};
        return question.answer(outcome);
    };
    const auto busy = answer(ErrorCode::busy);
    EXPECT_EQ(busy.status, 409U);
    EXPECT_EQ(busy.retry_after, std::chrono::seconds{1});
    EXPECT_EQ(answer(ErrorCode::unavailable).status, 503U);
}

TEST_F(HttpEdge, ChecksKeys) {
    EXPECT_EQ(send(call(std::string(256, 'k'))).status, 400U);
    EXPECT_EQ(send(call("a\nb")).status, 400U);
    EXPECT_EQ(send(call("")).status, 400U);
    EXPECT_EQ(effects_, 0);
    EXPECT_EQ(send(call(std::nullopt)).status, 201U);  // unguarded
    EXPECT_EQ(send(call(std::nullopt)).status, 201U);
    EXPECT_EQ(effects_, 2);
    const HttpGuard strict{{.key_required = true}};
    EXPECT_EQ(strict.read(call(std::nullopt)).refused()->status, 400U);
}

TEST_F(HttpEdge, WorksOverALeaseGuard) {
    hufu::testing::FakeClock clock;
    MemoryLeases store{clock};
    LeaseGuard guard{store, {.group = "orders", .grade = Grade::best_effort}, {}, {.clock = clock}};
    const auto post = [&](const HttpCall& one) { return answer_under_lease(edge_, guard, one, [&] { return created(); }); };
    const auto running = answer_under_lease(edge_, guard, call("k"), [&] {
        const auto meanwhile = post(call("k"));
        EXPECT_EQ(meanwhile.status, 409U);
        EXPECT_EQ(meanwhile.retry_after, std::chrono::seconds{5});
        EXPECT_EQ(post(call("k", "other")).status, 422U);
        return created();
    });
    EXPECT_EQ(running.status, 201U);
    const auto again = post(call("k"));
    EXPECT_TRUE(again.replayed);
    EXPECT_EQ(again.body, running.body);
    EXPECT_EQ(post(call("k", "other")).status, 422U);
    EXPECT_EQ(effects_, 1);
}

}  // namespace
}  // namespace hufu::idempotency
