#include <hufu/redis/locks.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {
namespace {

using namespace std::chrono_literals;

class RedisLocks : public testing::Test {
protected:
    test_support::RedisServer server_;
    Client client_{server_.url()};
    Locks locks_{client_, {.lease = 300ms}};
};

TEST_F(RedisLocks, AreHeldByOneAndHandOutAGrowingToken) {
    auto first = locks_.acquire("order-1", 0ms).value();
    EXPECT_TRUE(first->held());
    EXPECT_TRUE(first->confirm());
    const auto refused = locks_.acquire("order-1", 20ms);
    EXPECT_EQ(refused.error().code(), ErrorCode::busy);
    EXPECT_EQ(refused.error().disposition(), Disposition::retry);
    EXPECT_TRUE(locks_.acquire("order-2", 0ms));
    const auto token = first->token();
    first.reset();
    EXPECT_GT(locks_.acquire("order-1", 0ms).value()->token(), token);
}

TEST_F(RedisLocks, AreRenewedWhileHeld) {
    const auto lock = locks_.acquire("order-1", 0ms).value();
    EXPECT_EQ(locks_.acquire("order-1", 900ms).error().code(), ErrorCode::busy);  // three leases
    EXPECT_TRUE(lock->held());
    EXPECT_TRUE(lock->confirm());
}

TEST_F(RedisLocks, SayThatTheyAreLostAndTheNextTokenIsLargerAlsoAfterTheServerForgot) {
    const auto first = locks_.acquire("order-1", 0ms).value();
    server_.flush();
    const auto second = locks_.acquire("order-1", 0ms).value();
    EXPECT_GT(second->token(), first->token());
    const auto lost = first->confirm();
    EXPECT_EQ(lost.error().code(), ErrorCode::fenced);
    EXPECT_FALSE(first->held());
    EXPECT_TRUE(second->confirm());
}

TEST_F(RedisLocks, GrowTheirTokenWhenTheServersClockHasGoneBack) {
    const auto ahead = std::int64_t{4'000'000'000'000'000};  // the year 2096
    server_.command({"SET", "hufu:lock:token:order-1", std::to_string(ahead)});
    EXPECT_EQ(locks_.acquire("order-1", 0ms).value()->token().value, ahead + 1);
}

TEST_F(RedisLocks, AreNotTrustedLongerThanTheLeaseWhenTheServerHangs) {
    Client impatient{server_.url(), {.command_timeout = 50ms}};
    Locks locks{impatient, {.lease = 300ms}};
    const auto lock = locks.acquire("order-1", 0ms).value();
    server_.pause();
    const auto begin = system_clock().steady_now();
    while (lock->held()) {
        ASSERT_LT(system_clock().steady_now() - begin, 5s);
    }
    EXPECT_EQ(lock->confirm().error().code(), ErrorCode::timeout);
    server_.resume();
}

TEST_F(RedisLocks, LetOneOfManyThreadsInAtATime) {
    std::atomic<int> inside{0};
    std::atomic<int> wrong{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10; ++i) {
                const auto lock = locks_.acquire("order-1", 30s);
                if (!lock || inside.fetch_add(1) != 0) ++wrong;
                --inside;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(wrong, 0);
}

TEST_F(RedisLocks, RefuseNamesAndLeasesThatCannotWork) {
    EXPECT_EQ(locks_.acquire("", 0ms).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(locks_.acquire(std::string(256, 'n'), 0ms).error().code(), ErrorCode::invalid_argument);
    EXPECT_THROW((Locks{client_, {.lease = 10ms}}), Exception);
}

}  // namespace
}  // namespace hufu::redis
