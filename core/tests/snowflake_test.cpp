#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/snowflake.hpp>
#include <hufu/testing/fake_clock.hpp>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;
using ::testing::HasSubstr;

/// Lets a test decide what the lease says.
class BrokenLease final : public WorkerIdLease {
public:
    Result<WorkerIdRange> acquire(SystemTime now, std::chrono::milliseconds length) override {
        if (broken) return Error{ErrorCode::unavailable, Disposition::retry, "database away"};
        return WorkerIdRange{next--, now, now + length, 1};
    }
    Result<WorkerIdRange> renew(const WorkerIdRange& held, SystemTime until) override {
        ++renewals;
        if (broken) return Error{ErrorCode::fenced, Disposition::retry, "taken over"};
        return WorkerIdRange{held.worker, held.from, until, held.epoch};
    }
    bool broken = false;
    int renewals = 0;
    std::uint16_t next = 9;
};

TEST(Snowflake, CarriesTimeWorkerAndCounter) {
    FakeClock clock{FakeClock::Sleep::advances};
    MemoryWorkerIdLease lease;
    (void)lease.acquire(clock.system_now(), 1h).value();  // worker 0 is taken
    Snowflake ids{clock, lease};
    (void)ids.next().value();
    const auto id = ids.next().value();
    EXPECT_GT(id, 0);
    EXPECT_EQ(snowflake_parts(id), (SnowflakeParts{.minted_at = clock.system_now(), .worker = 1, .counter = 1}));
}

TEST(Snowflake, GrowsThroughFullMillisecondsAndSmallStepsBack) {
    FakeClock clock{FakeClock::Sleep::advances};
    MemoryWorkerIdLease lease;
    Snowflake ids{clock, lease};
    std::int64_t last = 0;
    for (int count = 0; count < 20'000; ++count) {
        if (count % 1'000 == 999) clock.step_system(-20ms);
        const auto id = ids.next().value();
        ASSERT_GT(id, last);
        last = id;
    }
}

TEST(Snowflake, RefusesALargeStepBackAndGoesOnWhenTheClockCaughtUp) {
    FakeClock clock{FakeClock::Sleep::advances};
    MemoryWorkerIdLease lease;
    Snowflake ids{clock, lease, {.wait_max = 50ms}};
    const auto before = ids.next().value();
    clock.step_system(-10s);
    const auto refused = ids.next();
    ASSERT_TRUE(refused.has_error());
    EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
    EXPECT_EQ(refused.error().disposition(), Disposition::retry);
    EXPECT_THAT(refused.error().text(), HasSubstr("10000 ms"));
    clock.advance(10s);
    EXPECT_GT(ids.next().value(), before);
}

TEST(Snowflake, NeverRepeatsAcrossRestartsWithAClockThatStepsBack) {
    FakeClock clock{FakeClock::Sleep::advances};
    MemoryWorkerIdLease lease{2};
    std::set<std::int64_t> seen;
    for (int restart = 0; restart < 50; ++restart) {
        Snowflake ids{clock, lease, {.range = 100ms}};
        for (int count = 0; count < 100; ++count) {
            const auto id = ids.next();
            if (!id) {  // every worker id is reserved beyond this clock's time
                EXPECT_EQ(id.error().code(), ErrorCode::busy);
                clock.advance(60ms);
                continue;
            }
            EXPECT_TRUE(seen.insert(*id).second);
        }
        clock.step_system(restart % 3 == 0 ? -40ms : 30ms);
    }
    EXPECT_GT(seen.size(), 1'000u);
}

TEST(Snowflake, RenewsBeforeTheRangeEndsAndOutlivesAnOutage) {
    FakeClock clock{FakeClock::Sleep::advances};
    BrokenLease lease;
    Snowflake ids{clock, lease, {.range = 60s}};
    (void)ids.next().value();
    clock.advance(31s);
    (void)ids.next().value();
    EXPECT_EQ(lease.renewals, 1);
    lease.broken = true;
    clock.advance(59s);
    EXPECT_TRUE(ids.next().has_value()) << "the range still lasts";
    clock.advance(2s);
    const auto refused = ids.next();
    ASSERT_TRUE(refused.has_error());
    EXPECT_EQ(refused.error().text(), "database away");
    lease.broken = false;
    EXPECT_TRUE(ids.next().has_value());
}

TEST(Snowflake, GrowsWhenTheWorkerIdShrinksWithinAMillisecond) {
    FakeClock clock{FakeClock::Sleep::advances};
    BrokenLease lease;
    Snowflake ids{clock, lease, {.range = 1s}};
    (void)ids.next().value();
    clock.advance(1500us);
    clock.advance(999ms);
    // The range just ended, the lease is gone, the next worker id is smaller.
    lease.broken = true;
    EXPECT_FALSE(ids.next().has_value());
    lease.broken = false;
    const auto first = ids.next().value();
    EXPECT_GT(ids.next().value(), first);
}

TEST(Snowflake, GivesDistinctIdsToManyThreads) {
    MemoryWorkerIdLease lease;
    Snowflake ids{system_clock(), lease};
    Snowflake others{system_clock(), lease};
    std::vector<std::vector<std::int64_t>> minted(4);
    {
        std::vector<std::jthread> threads;
        for (std::size_t thread = 0; thread < minted.size(); ++thread) {
            threads.emplace_back([&, thread] {
                for (int count = 0; count < 5'000; ++count)
                    minted[thread].push_back((thread % 2 == 0 ? ids : others).next().value());
            });
        }
    }
    std::set<std::int64_t> all;
    for (const auto& ones : minted) {
        EXPECT_TRUE(std::is_sorted(ones.begin(), ones.end()));
        all.insert(ones.begin(), ones.end());
    }
    EXPECT_EQ(all.size(), 20'000u);
}

TEST(MemoryWorkerIdLease, ReservesEachWorkerIdForOneHolderAtATime) {
    FakeClock clock;
    const auto now = clock.system_now();
    MemoryWorkerIdLease lease{2};
    const auto first = lease.acquire(now, 1s).value();
    const auto second = lease.acquire(now, 1s).value();
    EXPECT_NE(first.worker, second.worker);
    EXPECT_EQ(lease.acquire(now, 1s).error().code(), ErrorCode::busy);
    const auto renewed = lease.renew(first, now + 2s).value();
    EXPECT_EQ(renewed.until, now + 2s);
    const auto successor = lease.acquire(now + 1s, 1s).value();
    EXPECT_EQ(successor.worker, second.worker);
    EXPECT_GE(successor.from, second.until);
    EXPECT_EQ(lease.renew(second, now + 9s).error().code(), ErrorCode::fenced);
}

}  // namespace
}  // namespace hufu
