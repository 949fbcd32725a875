// Delayed messages outlive the segments they were stored in.
#include <gmock/gmock.h>

#include "dispatch/state.hpp"
#include "dispatch/timers.hpp"
#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;

class TimersMoveTest : public DispatchTest {
protected:
    TimersMoveTest() {
        log_options.segment_bytes = 24U << 10U;
        log_options.first_segment_bytes = 16U << 10U;
        log_options.record_bytes_max = 4U << 10U;
        clock.now_ms = 1'700'000'000'000;
    }

    void open() {
        log = Log::open(disk.directory(), log_options, clock).value();
        state = std::make_unique<DispatchState>(*log, options, ids, metrics, clock);
        load_topics(*state);
        state->timers.load(*state);
    }
    void reopen() {
        state.reset();
        log.reset();
        disk.crash();
        open();
    }
    void settle() {
        for (const Outcome& outcome : testing::settle(*log)) state->timers.settled(*state, outcome, clock.steady_now());
    }

    std::uint64_t store(std::string_view body, std::chrono::milliseconds delay) {
        remoting::Record record;
        record.topic = "orders";
        record.body = body;
        const Traits traits;
        const auto stored = store_delayed(*state, record, traits, {clock.now_ms + delay.count(), true});
        EXPECT_TRUE(stored);
        settle();
        return stored->queue_offset;
    }
    /// Messages of another queue, so that the log goes on.
    void fill(std::size_t bytes) {
        const QueueHandle queue = log->open_queue("filler", 0);
        for (std::size_t at = 0; at < bytes; at += 1'000) {
            ASSERT_TRUE(log->append(queue, 0, record_of(std::string(900, 'x'))));
            settle();
        }
    }
    /// What retention does: moves, then drops.
    void retire(std::uint64_t keep) {
        const std::uint64_t bound = log->durable_offset() - keep;
        for (int calls = 0; !move_timers_out_of(*state, bound).value(); ++calls) {
            ASSERT_LT(calls, 1'000) << "moving never ends";
            settle();
        }
        ASSERT_GT(log->drop_segments(keep, std::nullopt), 0U);
        settle();
    }
    std::multiset<std::string> delivered() {
        for (int turns = 0; turns < 1'000; ++turns) {
            state->timers.deliver(*state, clock.steady_now());
            settle();
        }
        std::multiset<std::string> bodies;
        const auto queue = log->find_queue("orders", 0);
        std::vector<std::byte> bytes;
        for (std::uint64_t offset = log->min_offset(*queue); offset < log->max_offset(*queue);)
            offset = log->read(*queue, offset, {}, {}, bytes).next_offset;
        for (std::span<const std::byte> rest{bytes}; !rest.empty();) {
            const auto record = remoting::decode_record(rest).value();
            bodies.emplace(record.body);
            rest = rest.subspan(remoting::record_size(record));
        }
        return bodies;
    }

    std::unique_ptr<DispatchState> state;
};

TEST_F(TimersMoveTest, MovesWhatIsPendingOutOfSegmentsThatGo) {
    open();
    state->create_topic("orders", 1).value();
    std::multiset<std::string> expected;
    for (int i = 0; i < 20; ++i) {
        store("m" + std::to_string(i), 1h + std::chrono::seconds{i});
        expected.insert("m" + std::to_string(i));
    }
    const std::uint64_t recalled = store("recalled", 1h);
    ASSERT_TRUE(state->timers.recall(*state, recalled, "key"));
    settle();
    for (int round = 0; round < 3; ++round) {
        fill(200'000);
        retire(64'000);
        EXPECT_EQ(state->timers.pending(), 20U);
        reopen();
        EXPECT_EQ(state->timers.pending(), 20U);
    }
    EXPECT_GT(log->min_offset(state->timers.wheel()), 20U) << "the segments they were stored in are gone";
    clock.now_ms += std::chrono::milliseconds{2h}.count();
    EXPECT_EQ(delivered(), expected);
    reopen();
    EXPECT_EQ(delivered(), expected);
}

TEST_F(TimersMoveTest, KeepsHowFarDeliveryHasCome) {
    open();
    state->create_topic("orders", 1).value();
    store("first", 1s);
    clock.now_ms += 1'000;
    EXPECT_EQ(delivered(), std::multiset<std::string>{"first"});
    fill(200'000);
    // Only a part of the log goes; what was delivered has gone from its queue, and from the wheel.
    retire(64'000);
    reopen();
    EXPECT_EQ(state->timers.pending(), 0U);
    EXPECT_EQ(delivered(), std::multiset<std::string>{});
    EXPECT_TRUE(state->alarms.empty());
}

TEST_F(TimersMoveTest, SaysWhatWasDroppedUnmoved) {
    open();
    state->create_topic("orders", 1).value();
    store("lost", 1h);
    fill(200'000);
    ASSERT_GT(log->drop_segments(64'000, std::nullopt), 0U);
    settle();
    ASSERT_TRUE(move_timers_out_of(*state, 0).has_value());
    EXPECT_THAT(state->alarms, ::testing::Contains(::testing::HasSubstr("1 delayed message(s) were dropped")));
    EXPECT_EQ(state->timers.pending(), 0U);
}

}  // namespace
}  // namespace hufu::broker::testing
