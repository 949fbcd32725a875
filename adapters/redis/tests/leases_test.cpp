#include <hufu/redis/leases.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <hufu/idempotency/lease_guard.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {
namespace {

using namespace std::chrono_literals;
using idempotency::EffectResult;
using idempotency::GuardDeclaration;
using idempotency::HeldLease;
using idempotency::LeaseGuard;
using idempotency::LeaseKept;
using idempotency::LeaseOutcome;
using idempotency::LeaseRequest;
using idempotency::LeaseSeen;
using idempotency::LeaseToken;
using test_support::RedisServer;

const GuardDeclaration mail{.group = "mail", .grade = idempotency::Grade::best_effort};

class RedisLeases : public testing::Test {
protected:
    static LeaseRequest request(const std::string& id, std::chrono::milliseconds lease = 30s, std::string fingerprint = {}) {
        return {.key = {"mail", id},
                .token = LeaseToken{system_random()},
                .fingerprint = std::move(fingerprint),
                .lease = lease};
    }
    /// Waits until the server has let the key go.
    void wait_until_gone(const LeaseRequest& held) {
        while (leases_.acquire(request(held.key.id, 1ms)).value().state != LeaseSeen::State::ours) {
        }
    }
    LeaseKept renew(const LeaseRequest& held) {
        const LeaseRequest* const one[] = {&held};
        Result<LeaseKept> answer[] = {LeaseKept::lost};
        leases_.renew(one, answer);
        return answer[0].value();
    }

    RedisServer server_;
    Client client_{server_.url(), {.reconnect_pause_max = 5ms}};
    Leases leases_{client_};
};

TEST_F(RedisLeases, AreOnePerKeyAndRememberTheResult) {
    const auto first = request("1", 30s, "fp");
    const auto second = request("1");
    EXPECT_EQ(leases_.acquire(first).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(leases_.acquire(first).value().state, LeaseSeen::State::ours);  // the same attempt, asked again
    EXPECT_EQ(leases_.acquire(second).value().state, LeaseSeen::State::in_progress);
    EXPECT_EQ(leases_.acquire(second).value().fingerprint, "fp");
    EXPECT_EQ(leases_.complete(second, {.bytes = "stolen", .keep_for = 1h}).value(), LeaseKept::lost);
    EXPECT_EQ(leases_.complete(first, {.bytes = "kept", .keep_for = 1h}).value(), LeaseKept::kept);
    EXPECT_EQ(leases_.complete(first, {.bytes = "kept", .keep_for = 1h}).value(), LeaseKept::kept);
    EXPECT_EQ(leases_.acquire(second).value().state, LeaseSeen::State::done);
    EXPECT_EQ(leases_.acquire(second).value().result, "kept");
    const int left_ms = std::stoi(server_.command({"PTTL", "hufu:guard:4:mail:1"}));
    EXPECT_GT(left_ms, 3'500'000);
    EXPECT_LE(left_ms, 3'600'000);
}

TEST_F(RedisLeases, EndByTheServersClock) {
    const auto dead = request("1", 20ms);
    EXPECT_EQ(leases_.acquire(dead).value().state, LeaseSeen::State::ours);
    wait_until_gone(dead);
    const auto next = request("1");
    while (leases_.acquire(next).value().state != LeaseSeen::State::ours) {
    }
    EXPECT_EQ(renew(dead), LeaseKept::lost);
    EXPECT_EQ(leases_.complete(dead, {.bytes = "late", .keep_for = 1h}).value(), LeaseKept::lost);
    EXPECT_TRUE(leases_.release(dead));
    EXPECT_EQ(leases_.complete(next, {.bytes = "right", .keep_for = 1h}).value(), LeaseKept::kept);
}

TEST_F(RedisLeases, AreRenewedAndTakenAgainAfterTheServerForgot) {
    const auto held = request("1", 500ms);
    EXPECT_EQ(leases_.acquire(held).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(renew(held), LeaseKept::kept);
    server_.flush();
    EXPECT_EQ(renew(held), LeaseKept::retaken);
    EXPECT_EQ(renew(held), LeaseKept::kept);
    EXPECT_EQ(leases_.acquire(request("1")).value().state, LeaseSeen::State::in_progress);
    EXPECT_TRUE(leases_.release(held));
    EXPECT_EQ(leases_.acquire(request("1")).value().state, LeaseSeen::State::ours);
}

TEST_F(RedisLeases, SendAScriptAgainThatTheServerForgot) {
    const auto held = request("1");
    EXPECT_EQ(leases_.acquire(held).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(renew(held), LeaseKept::kept);
    server_.command({"SCRIPT", "FLUSH"});
    EXPECT_EQ(renew(held), LeaseKept::kept);
    server_.command({"SCRIPT", "FLUSH"});
    EXPECT_EQ(leases_.complete(held, {.bytes = "x", .keep_for = 1h}).value(), LeaseKept::kept);
}

TEST_F(RedisLeases, AreAcquiredByAScriptOnAnOlderServer) {
    Leases by_script{client_, {.native_acquire = false}};
    const auto held = request("1", 30s, "fp");
    const auto other = request("1");
    EXPECT_EQ(by_script.acquire(held).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(by_script.acquire(held).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(by_script.acquire(other).value().state, LeaseSeen::State::in_progress);
    EXPECT_EQ(leases_.acquire(other).value().fingerprint, "fp");
    const Completion done[] = {{&held, {.bytes = "x", .keep_for = 1h}}};
    const LeaseRequest* const next[] = {&other};
    EXPECT_EQ(by_script.exchange(done, next).acquired.at(0).value().result, "x");
}

TEST_F(RedisLeases, NameARightThatIsMissing) {
    server_.command({"ACL", "SETUSER", "default", "-eval", "-evalsha"});
    const auto refused = leases_.complete(request("1"), {.bytes = "x", .keep_for = 1h});
    EXPECT_EQ(refused.error().code(), ErrorCode::permission);
    EXPECT_EQ(refused.error().disposition(), Disposition::fatal);
    EXPECT_EQ(leases_.acquire(request("1")).value().state, LeaseSeen::State::ours);
}

TEST_F(RedisLeases, ExchangeABatchInOneFlight) {
    const auto a = request("a");
    const auto b = request("b");
    const auto c = request("c");
    const LeaseRequest* const first[] = {&a, &b};
    const auto begun = leases_.exchange({}, first);
    EXPECT_EQ(begun.acquired.at(0).value().state, LeaseSeen::State::ours);
    EXPECT_EQ(begun.acquired.at(1).value().state, LeaseSeen::State::ours);
    const Completion done[] = {{&a, {.bytes = "1", .keep_for = 1h}}, {&b, {.bytes = "2", .keep_for = 1h}}};
    const LeaseRequest* const next[] = {&c, &a};
    server_.command({"SCRIPT", "FLUSH"});
    const auto exchanged = leases_.exchange(done, next);
    EXPECT_EQ(exchanged.completed.at(0).value(), LeaseKept::kept);
    EXPECT_EQ(exchanged.completed.at(1).value(), LeaseKept::kept);
    EXPECT_EQ(exchanged.acquired.at(0).value().state, LeaseSeen::State::ours);
    EXPECT_NE(exchanged.acquired.at(1).value().state, LeaseSeen::State::in_progress);
    const auto again = request("b");
    EXPECT_EQ(leases_.acquire(again).value().result, "2");
}

TEST_F(RedisLeases, NameAServerThatIsFullAndKeysThatAreNotTheirs) {
    server_.config_set("maxmemory", "1");
    EXPECT_EQ(leases_.acquire(request("1")).error().code(), ErrorCode::out_of_space);
    server_.config_set("maxmemory", "0");
    server_.command({"SET", "hufu:guard:4:mail:2", "a stranger's"});
    EXPECT_EQ(leases_.acquire(request("2")).error().code(), ErrorCode::corrupt);
    server_.command({"LPUSH", "hufu:guard:4:mail:3", "a stranger's"});
    EXPECT_EQ(leases_.acquire(request("3")).error().code(), ErrorCode::conflict);
}

TEST_F(RedisLeases, GuardOneEffectPerKeyAmongThreadsAndProcesses) {
    Client other_client{server_.socket_url()};
    Leases other{other_client};
    LeaseGuard here{leases_, mail};
    LeaseGuard there{other, mail};
    std::atomic<int> effects{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&, thread] {
            for (int id = 0; id < 50; ++id) {
                for (;;) {
                    const auto outcome =
                        (thread % 2 == 0 ? here : there).run(std::to_string(id), "", [&](HeldLease&) -> EffectResult {
                            ++effects;
                            return {Handled::done, "sent"};
                        });
                    if (outcome.state == LeaseOutcome::State::done || outcome.state == LeaseOutcome::State::already_done)
                        break;
                }
            }
        });
    }
    threads.clear();
    EXPECT_EQ(effects, 50);
}

TEST_F(RedisLeases, AreRenewedByTheGuardWhileAnEffectRuns) {
    LeaseGuard guard{leases_, mail, {.lease = 120ms}};
    const auto outcome = guard.run("1", "", [&](HeldLease& lease) -> EffectResult {
        Clock& clock = system_clock();
        const auto until = clock.steady_now() + 400ms;
        while (clock.steady_now() < until) {
            EXPECT_EQ(leases_.acquire(request("1")).value().state, LeaseSeen::State::in_progress);
        }
        EXPECT_TRUE(lease.confirm());
        return Handled::done;
    });
    EXPECT_TRUE(outcome.recorded);
    EXPECT_FALSE(outcome.lease_lost);
}

TEST_F(RedisLeases, SurviveARestartOfTheServerWhileAnEffectRuns) {
    LeaseGuard guard{leases_, mail, {.lease = 2s}};
    const auto outcome = guard.run("1", "", [&](HeldLease&) -> EffectResult {
        server_.kill();
        server_.start();
        return {Handled::done, "sent"};
    });
    EXPECT_EQ(outcome.state, LeaseOutcome::State::done);
    EXPECT_TRUE(outcome.recorded);
    EXPECT_TRUE(outcome.lease_lost);  // between the two somebody else could have begun
    EXPECT_EQ(guard.run("1", "", [](HeldLease&) -> EffectResult { return Handled::done; }).result, "sent");
}

TEST_F(RedisLeases, MarkWhatTheDatabaseHasCommitted) {
    DoneMarks marks{client_};
    const idempotency::GuardKey key{"stock", MessageId{{1, 2}}};
    EXPECT_FALSE(marks.find(key).value().has_value());
    EXPECT_TRUE(marks.mark(key, std::string_view{"a\0b", 3}, 1h));
    EXPECT_EQ(marks.find(key).value().value(), std::string("a\0b", 3));
    EXPECT_FALSE(marks.find({"payment", key.id}).value().has_value());
}

}  // namespace
}  // namespace hufu::redis
