// Seeded bugs of the Redis guard, on a real server: each breaks "one effect" in its own way.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include <hufu/core/mutant.hpp>
#include <hufu/redis/leases.hpp>
#include <hufu/test_support/redis_server.hpp>

namespace hufu::redis {
namespace {

using namespace std::chrono_literals;
using idempotency::LeaseKept;
using idempotency::LeaseRequest;
using idempotency::LeaseSeen;
using idempotency::LeaseToken;

class RedisGuardMutants : public testing::Test {
protected:
    void TearDown() override { activate_mutant(""); }
    static LeaseRequest request(const std::string& id, std::chrono::milliseconds lease = 30s) {
        return {.key = {"mail", id}, .token = LeaseToken{system_random()}, .lease = lease};
    }

    /// How many keys two callers at the same time both got.
    int keys_taken_twice() {
        constexpr int keys = 300;
        Client one{server_.url()};
        Client two{server_.url()};
        std::vector<std::atomic<int>> holders(keys);
        std::barrier together{2};
        const auto take_all = [&](Client& client) {
            Leases leases{client};
            for (int key = 0; key < keys; ++key) {
                together.arrive_and_wait();
                if (leases.acquire(request(std::to_string(key))).value().state == LeaseSeen::State::ours) {
                    ++holders[static_cast<std::size_t>(key)];
                }
            }
        };
        std::jthread first{[&] { take_all(one); }};
        take_all(two);
        first.join();
        int twice = 0;
        for (const auto& count : holders) twice += count > 1 ? 1 : 0;
        return twice;
    }

    /// What the second holder finds when it finishes after the first, whose lease had run out.
    std::string result_after_a_late_completion() {
        Client client{server_.url()};
        Leases leases{client};
        const auto slow = request("late", 1ms);
        EXPECT_EQ(leases.acquire(slow).value().state, LeaseSeen::State::ours);
        const auto next = request("late");
        while (leases.acquire(next).value().state != LeaseSeen::State::ours) {
        }
        static_cast<void>(leases.complete(next, {.bytes = "right", .keep_for = 1h}).value());
        static_cast<void>(leases.complete(slow, {.bytes = "late", .keep_for = 1h}).value());
        return leases.acquire(request("late")).value().result;
    }

    test_support::RedisServer server_;
};

TEST_F(RedisGuardMutants, NoneIsActiveByDefault) {
    EXPECT_EQ(keys_taken_twice(), 0);
    EXPECT_EQ(result_after_a_late_completion(), "right");
}

TEST_F(RedisGuardMutants, CheckThenSetGivesAKeyToTwo) {
    activate_mutant("check_then_set");
    EXPECT_GT(keys_taken_twice(), 0);
}

TEST_F(RedisGuardMutants, CompletionWithoutTokenCompareOverwritesTheFirstResult) {
    activate_mutant("completion_without_token_compare");
    EXPECT_EQ(result_after_a_late_completion(), "late");
}

}  // namespace
}  // namespace hufu::redis
