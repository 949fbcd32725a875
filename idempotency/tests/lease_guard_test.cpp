#include <hufu/idempotency/lease_guard.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <hufu/testing/fake_clock.hpp>

#include "tests/memory_leases.hpp"

namespace hufu::idempotency {
namespace {

using namespace std::chrono_literals;
using State = LeaseOutcome::State;

/// Knows when a thread that was woken has gone to sleep again.
class WatchedClock final : public Clock {
public:
    [[nodiscard]] SystemTime system_now() const noexcept override { return time.system_now(); }
    [[nodiscard]] SteadyTime steady_now() const noexcept override { return time.steady_now(); }
    void sleep_until(SteadyTime until, std::stop_token stop) override {
        ++sleeps;
        sleeps.notify_all();
        time.sleep_until(until, stop);
    }
    /// Moves time, and waits until the one sleeper has done what it wakes for.
    void advance(std::chrono::milliseconds by) {
        const int before = sleeps.load();
        time.advance(by);
        sleeps.wait(before);
    }
    hufu::testing::FakeClock time;
    std::atomic<int> sleeps{0};
};

class Guarded : public ::testing::Test {
protected:
    WatchedClock clock_;
    MemoryLeases store_{clock_};
    MetricsRegistry metrics_;
    LeaseGuard guard_{
        store_, {.group = "mail", .grade = Grade::best_effort}, {.lease = 6s}, {.clock = clock_, .metrics = &metrics_}};
};

EffectResult sent(HeldLease&) { return {Handled::done, "250 OK"}; }

TEST_F(Guarded, RunsTheEffectOnceAndGivesItsResultAgain) {
    EXPECT_EQ(guard_.run("1", "", sent).state, State::done);
    const auto again = guard_.run("1", "", sent);
    EXPECT_EQ(again.state, State::already_done);
    EXPECT_EQ(again.result, "250 OK");
    EXPECT_THAT(metrics_.text(), ::testing::HasSubstr("hufu_guard_runs_total{group=\"mail\"} 1"));
    EXPECT_THAT(metrics_.text(), ::testing::HasSubstr("hufu_guard_duplicates_total{group=\"mail\"} 1"));
}

TEST_F(Guarded, RenewsTheLeaseOfASlowEffect) {
    const auto outcome = guard_.run("1", "", [&](HeldLease& lease) -> EffectResult {
        clock_.sleeps.wait(0);
        for (int i = 0; i < 12; ++i) {
            clock_.advance(1s);  // the renewer looks each second
            EXPECT_TRUE(lease.held());
        }
        return Handled::done;
    });
    EXPECT_TRUE(outcome.recorded);
    EXPECT_FALSE(outcome.lease_lost);
    EXPECT_GE(store_.renewals, 4);
}

TEST_F(Guarded, TellsARunningEffectThatItsLeaseWasTaken) {
    const auto outcome = guard_.run("1", "", [&](HeldLease& lease) -> EffectResult {
        EXPECT_TRUE(lease.confirm());
        store_.forget_everything();
        SeededRandom random{2};
        EXPECT_EQ(store_.acquire({.key = {"mail", "1"}, .token = LeaseToken{random}}).value().state, LeaseSeen::State::ours);
        const auto confirmed = lease.confirm();
        EXPECT_EQ(confirmed.error().code(), ErrorCode::fenced);
        EXPECT_FALSE(lease.held());
        return {Handled::retry, {}, "stopped in time"};
    });
    EXPECT_EQ(outcome.state, State::retry);
    EXPECT_TRUE(store_.holds({"mail", "1"}));  // the other's lease was not given up
}

TEST_F(Guarded, GivesTheKeyUpWhenTheEffectThrows) {
    EXPECT_THROW(
        static_cast<void>(guard_.run("1", "", [](HeldLease&) -> EffectResult { throw std::runtime_error{"boom"}; })),
        std::runtime_error);
    EXPECT_FALSE(store_.holds({"mail", "1"}));
    EXPECT_EQ(guard_.run("1", "", sent).state, State::done);
}

TEST_F(Guarded, LetsOneOfManyThreadsRunAKey) {
    std::atomic<int> effects{0};
    std::atomic<int> dones{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (int id = 0; id < 100; ++id) {
                const auto outcome = guard_.run(std::to_string(id), "", [&](HeldLease&) -> EffectResult {
                    ++effects;
                    return Handled::done;
                });
                if (outcome.state == State::done) ++dones;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(effects, 100);
    EXPECT_EQ(dones, 100);
}

TEST_F(Guarded, HandlesMessagesOfAConsumerById) {
    int effects = 0;
    const Handler handler = best_effort(guard_, [&](const Message& message, HeldLease&) -> EffectResult {
        effects += message.body == "hello" ? 1 : 0;
        return Handled::done;
    });
    Delivery delivery;
    delivery.message.id = MessageId{{7}};
    delivery.message.body = "hello";
    EXPECT_EQ(handler(delivery).handled, Handled::done);
    EXPECT_EQ(handler(delivery).handled, Handled::already_done);
    EXPECT_EQ(effects, 1);
}

TEST(LeaseGuard, RefusesAWindowThatIsTooShortAndALeaseNobodyCanRenew) {
    hufu::testing::FakeClock clock;
    MemoryLeases store{clock};
    constexpr auto best_effort = Grade::best_effort;
    EXPECT_THROW((LeaseGuard{store, {.group = "mail", .grade = best_effort, .window = 1min}}), Exception);
    EXPECT_THROW((LeaseGuard{store, {.group = "mail", .grade = best_effort}, {.lease = 50ms}}), Exception);
}

TEST(LeaseGuard, RefusesAGradeThatALeaseCannotKeep) {
    hufu::testing::FakeClock clock;
    MemoryLeases store{clock};
    try {
        const LeaseGuard guard{store, {.group = "mail", .grade = Grade::effect_once}};
        FAIL() << "was taken";
    } catch (const Exception& refused) {
        EXPECT_THAT(refused.error().text(), ::testing::HasSubstr("a lease cannot keep effect_once; declare best_effort"));
    }
}

}  // namespace
}  // namespace hufu::idempotency
