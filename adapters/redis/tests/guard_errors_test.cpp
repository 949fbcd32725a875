// What a guard says when its Redis does not do what it should: no effect without a lease, and no effect that is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include <hufu/core/clock.hpp>
#include <hufu/idempotency/lease_guard.hpp>
#include <hufu/redis/leases.hpp>
#include <hufu/redis/locks.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {
namespace {

using namespace std::chrono_literals;
using idempotency::EffectResult;
using idempotency::HeldLease;
using idempotency::LeaseGuard;
using idempotency::LeaseOutcome;
using testing::AllOf;
using testing::HasSubstr;
using State = LeaseOutcome::State;
using test_support::RedisServer;

/// A guard on a server that each test puts into its state.
class GuardOn {
public:
    explicit GuardOn(const std::string& url) : client_{url, {.command_timeout = 500ms}} {}

    LeaseOutcome run(const std::string& id, const std::function<void()>& meanwhile = {}) {
        return guard_.run(id, {}, [&](HeldLease&) {
            ++effects;
            if (meanwhile) meanwhile();
            return EffectResult{Handled::done, "250 OK"};
        });
    }
    int effects = 0;

private:
    Client client_;
    Leases leases_{client_};
    LeaseGuard guard_{leases_,
                      {.group = "mail", .grade = idempotency::Grade::best_effort},
                      {.result_bytes_max = 100, .complete_patience = 100ms}};
};

void expect_nothing_happened(GuardOn& guard, const std::string& reason) {
    const auto outcome = guard.run("1");
    EXPECT_EQ(outcome.state, State::retry);
    EXPECT_EQ(outcome.handled().handled, Handled::retry);
    EXPECT_THAT(outcome.reason, HasSubstr(reason));
    EXPECT_EQ(guard.effects, 0);
}

TEST(GuardOnRedis, RunsNothingOnAReadOnlyReplica) {
    const RedisServer server;
    GuardOn guard{server.url()};
    server.command({"REPLICAOF", "127.0.0.1", "1"});
    expect_nothing_happened(guard, "is a replica");
    server.command({"REPLICAOF", "NO", "ONE"});
    EXPECT_EQ(guard.run("1").state, State::done);
}

TEST(GuardOnRedis, RunsNothingWhenTheServerIsOutOfMemory) {
    const RedisServer server;
    GuardOn guard{server.url()};
    server.config_set("maxmemory", "1");
    expect_nothing_happened(guard, "maxmemory");
    server.config_set("maxmemory", "0");
    EXPECT_EQ(guard.run("1").state, State::done);
}

TEST(GuardOnRedis, RunsNothingWithAWrongPassword) {
    const RedisServer server{{.password = "right"}};
    GuardOn guard{"redis://:wrong@127.0.0.1:" + std::to_string(server.port())};
    expect_nothing_happened(guard, "password");
}

TEST(GuardOnRedis, RunsNothingOnANodeOfAClusterThatSendsItElsewhere) {
    const test_support::SplitRedisCluster cluster;
    Client client{cluster.one.url()};
    Clock& clock = system_clock();
    Result<Reply> said = client.run(Command{"SET", "a", "b"});
    for (int look = 0; look < 400 && (said || said.error().code() != ErrorCode::unsupported); ++look) {
        clock.sleep_until(clock.steady_now() + 25ms, {});  // the nodes get to know each other
        said = client.run(Command{"SET", "a", "b"});
    }
    ASSERT_FALSE(said);
    EXPECT_EQ(said.error().code(), ErrorCode::unsupported) << said.error().text();
    EXPECT_EQ(said.error().disposition(), Disposition::fatal);
    GuardOn guard{cluster.one.url()};
    expect_nothing_happened(guard, "cluster");
    Locks locks{client};
    EXPECT_EQ(locks.acquire("order-1", 10ms).error().disposition(), Disposition::fatal);
}

TEST(GuardOnRedis, RecordsAnEffectDuringWhichTheServerForgotItsScripts) {
    const RedisServer server;
    GuardOn guard{server.url()};
    EXPECT_EQ(guard.run("1").state, State::done);  // the scripts are known
    const auto outcome = guard.run("2", [&] { server.command({"SCRIPT", "FLUSH"}); });
    EXPECT_EQ(outcome.state, State::done);
    EXPECT_TRUE(outcome.recorded);
    EXPECT_EQ(guard.run("2").result, "250 OK");
    EXPECT_EQ(guard.effects, 2);
}

TEST(GuardOnRedis, SaysThatAnEffectIsDoneAndCouldNotBeRecorded) {
    const RedisServer server;
    GuardOn guard{server.url()};
    const auto outcome = guard.run("1", [&] { server.config_set("maxmemory", "1"); });
    EXPECT_EQ(outcome.state, State::done);
    EXPECT_FALSE(outcome.recorded);
    EXPECT_THAT(outcome.reason, AllOf(HasSubstr("key \"1\" of group \"mail\" is done, but that could not be recorded"),
                                      HasSubstr("maxmemory")));
    // Until the lease ends, a duplicate still meets it.
    server.config_set("maxmemory", "0");
    EXPECT_EQ(guard.run("1").state, State::in_progress);
    EXPECT_EQ(guard.effects, 1);
}

TEST(GuardOnRedis, DoesNotKeepAResultThatIsTooLarge) {
    const RedisServer server;
    Client client{server.url()};
    Leases leases{client};
    LeaseGuard guard{leases, {.group = "mail", .grade = idempotency::Grade::best_effort}, {.result_bytes_max = 100}};
    const auto huge = [](HeldLease&) { return EffectResult{Handled::done, std::string(1000, 'x')}; };
    const auto first = guard.run("1", {}, huge);
    EXPECT_EQ(first.state, State::done);
    EXPECT_THAT(first.reason, HasSubstr("its result of 1000 bytes is not kept, the limit is 100"));
    const auto again = guard.run("1", {}, huge);
    EXPECT_EQ(again.state, State::already_done);
    EXPECT_TRUE(again.result_dropped);
}

TEST(GuardOnRedis, RefusesKeysThatAreEmptyOrGiantAndAnotherPayload) {
    const RedisServer server;
    GuardOn guard{server.url()};
    EXPECT_EQ(guard.run("").handled().handled, Handled::reject);
    const auto giant = guard.run(std::string(100'000, 'k'));
    EXPECT_EQ(giant.state, State::reject);
    EXPECT_THAT(giant.reason, AllOf(HasSubstr("has 100000 bytes"), HasSubstr("at most 512"), HasSubstr("use a hash")));
    EXPECT_LT(giant.reason.size(), 300U);
    EXPECT_EQ(guard.effects, 0);

    Client client{server.url()};
    Leases leases{client};
    LeaseGuard by_payload{leases, {.group = "mail", .grade = idempotency::Grade::best_effort}};
    const auto done = [](HeldLease&) { return EffectResult{Handled::done}; };
    EXPECT_EQ(by_payload.run("k", "hash of a", done).state, State::done);
    const auto conflict = by_payload.run("k", "hash of b", done);
    EXPECT_EQ(conflict.state, State::conflict);
    EXPECT_EQ(conflict.handled().handled, Handled::reject);
}

}  // namespace
}  // namespace hufu::redis
