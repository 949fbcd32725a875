#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine_under_test.hpp"

namespace hufu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = ConsumerActions::Notice::Kind;

std::vector<Kind> kinds(const ConsumerActions& actions) {
    std::vector<Kind> all;
    for (const auto& notice : actions.notices) all.push_back(notice.kind);
    return all;
}

class InAnOutage : public ::testing::Test {
protected:
    static ConsumerOptions options() {
        return {.running_max = 4,
                .retry = RetrySchedule::ladder({100ms, 100ms}),
                .handler_timeout = 0ms,
                .outage = {.attempts = 6, .failed_share = 1, .keys_min = 4, .probe = RetrySchedule::ladder({1s, 5s})}};
    }
    /// Everything that runs fails, until the machine has understood.
    void break_down() {
        for (std::uint64_t position = 1; position <= 8; ++position) deliver(position);
        while (!machine->in_outage()) fail_one();
        while (!machine.running.empty()) fail_one();
    }
    void deliver(std::uint64_t position) { note(machine.deliver({delivery(position, "k" + std::to_string(position))})); }
    void fail_one() { note(machine.handled(machine.running.begin()->first, {Handled::retry, "no database"})); }
    void note(const ConsumerActions& actions) {
        excused += actions.excused;
        letters += actions.dead_letters.size();
    }

    Machine machine{options()};
    std::uint64_t excused = 0;
    std::size_t letters = 0;
};

TEST_F(InAnOutage, NothingRunsButAProbeNowAndThen) {
    break_down();
    EXPECT_EQ(machine->wake_at(), machine.now + 1s);
    EXPECT_THAT(started(machine.pass(999ms)), IsEmpty());
    const auto probe = machine.pass(1ms);
    EXPECT_THAT(probe.start, SizeIs(1));
    EXPECT_EQ(machine->wake_at(), std::nullopt) << "it is waited for";
    const auto failed = machine.handled(machine.running.begin()->first, {Handled::retry, "no database"});
    EXPECT_THAT(kinds(failed), ElementsAre(Kind::outage_goes_on));
    EXPECT_THAT(failed.start, IsEmpty());
    EXPECT_EQ(machine->wake_at(), machine.now + 5s);
}

TEST_F(InAnOutage, NothingCountsAndNothingDies) {
    break_down();
    EXPECT_GE(excused, 6u) << "also those that told of the outage";
    for (int probe = 0; probe < 50; ++probe) {
        note(machine.pass(5s));
        ASSERT_THAT(machine.running, SizeIs(1));
        fail_one();
    }
    EXPECT_EQ(letters, 0u);
    note(machine.pass(5s));
    const auto over = machine.handled(machine.running.begin()->first, Handled::done);
    EXPECT_THAT(kinds(over), ElementsAre(Kind::outage_ended));
    EXPECT_FALSE(machine->in_outage());
    ASSERT_THAT(over.start, SizeIs(4)) << "all threads work again at once";
    for (const auto& start : over.start) EXPECT_EQ(start.attempt, 1u);
}

TEST_F(InAnOutage, ItIsOneRunThatStopsCounting) {
    // Before everything fails, one message has used up an attempt of its own: that one stays counted.
    deliver(20);
    note(machine.handled(20, {Handled::retry, "its own fault"}));
    for (std::uint64_t position = 31; position < 40; ++position) {
        deliver(position);
        note(machine.handled(position, Handled::done));
    }
    machine.now += 50ms;
    break_down();
    note(machine.pass(1s));
    const auto over = machine.handled(machine.running.begin()->first, Handled::done);
    std::map<std::uint64_t, std::uint32_t> attempts;
    const auto remember = [&](const ConsumerActions& actions) {
        for (const auto& start : actions.start) attempts[start.delivery->tag.position] = start.attempt;
    };
    remember(over);
    while (!machine.running.empty()) remember(machine.handled(machine.running.begin()->first, Handled::done));
    EXPECT_EQ(attempts.at(20), 2u);
}

TEST_F(InAnOutage, EveryProbeIsAnotherMessageAndAFreshOneFirst) {
    break_down();
    EXPECT_GT(machine->room(), 0u) << "a few that were never tried are wanted";
    deliver(50);
    std::vector<std::uint64_t> probes;
    for (int round = 0; round < 4; ++round) {
        for (const auto position : started(machine.pass(5s))) probes.push_back(position);
        fail_one();
    }
    EXPECT_EQ(probes.size(), 4u);
    EXPECT_EQ(std::set<std::uint64_t>(probes.begin(), probes.end()).size(), 4u);
    const auto untried_first = std::find(probes.begin(), probes.end(), 50u);
    EXPECT_NE(untried_first, probes.end());
}

TEST_F(InAnOutage, ReceivesOnlyAFewUntriedMessages) {
    break_down();
    for (std::uint64_t position = 60; machine->room() > 0; ++position) {
        ASSERT_LT(position, 80u);
        deliver(position);
    }
    EXPECT_LE(machine->held(), 8u + 4u);
}

TEST_F(InAnOutage, ARejectedProbeIsAnAnswerToo) {
    break_down();
    note(machine.pass(1s));
    const auto over = machine.handled(machine.running.begin()->first, {Handled::reject, "bad amount"});
    EXPECT_FALSE(machine->in_outage());
    EXPECT_THAT(over.dead_letters, SizeIs(1));
}

TEST_F(InAnOutage, StopsAndLosesQueuesAsEver) {
    break_down();
    note(machine.pass(1s));
    ASSERT_THAT(machine.running, SizeIs(1));
    (void)machine.lose(1);
    EXPECT_EQ(machine->held(), 1u) << "the probe that runs";
    (void)machine.handled(machine.running.begin()->first, {Handled::retry, "no database"});
    EXPECT_EQ(machine->held(), 0u);
    EXPECT_EQ(machine->wake_at(), std::nullopt);
    (void)machine.deliver({delivery(70, "", 1, 2)});
    EXPECT_THAT(started(machine.pass(5s)), ElementsAre(70)) << "what comes later is the next probe";
    (void)machine.stop();
    EXPECT_FALSE(machine->finished());
    (void)machine.handled(70, {Handled::retry, "no database"});
    EXPECT_TRUE(machine->finished());
    EXPECT_EQ(machine->held(), 0u);
}

TEST(ConsumerMachine, AdaptiveRateFollowsTheHandlers) {
    Machine machine{
        {.running_max = 1,
         .adaptive_rate = {.max_per_second = 100, .min_per_second = 10, .target_latency = 20ms, .increase = 0.5}}};
    std::vector<Delivery> many;
    for (std::uint64_t position = 1; position <= 200; ++position) many.push_back(delivery(position, ""));
    (void)machine.deliver(std::move(many));
    for (int round = 0; round < 400 && machine->adaptive_rate() < 60; ++round) {
        if (!machine.running.empty()) {
            machine.now += 5ms;
            (void)machine.handled(machine.running.begin()->first, Handled::done);
        }
        (void)machine.pass(10ms);
    }
    EXPECT_EQ(machine->adaptive_rate(), 60) << "quick handlers: 10 plus half of 100";
    for (int round = 0; round < 60 && machine->adaptive_rate() > 50; ++round) {
        if (!machine.running.empty()) {
            machine.now += 100ms;
            (void)machine.handled(machine.running.begin()->first, Handled::done);
        }
        (void)machine.pass(10ms);
    }
    EXPECT_LT(machine->adaptive_rate(), 60) << "slow handlers";
}

}  // namespace
}  // namespace hufu
