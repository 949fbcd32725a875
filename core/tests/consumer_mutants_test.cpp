// The seeded bugs of the consumer machine do what they are meant to, and would be seen.
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>

#include "machine_under_test.hpp"

namespace hufu {
namespace {

class ConsumerMutants : public ::testing::Test {
protected:
    void TearDown() override { activate_mutant(""); }
};

/// Everything fails for so long that no ladder lasts; then all is well. How many messages were given up?
std::size_t dead_letters_of_an_outage() {
    Machine machine{{.running_max = 4,
                     .retry = RetrySchedule::ladder({100ms, 100ms}),
                     .handler_timeout = 0ms,
                     .outage = {.attempts = 6, .failed_share = 1, .keys_min = 4, .probe = RetrySchedule::ladder({1s})}}};
    for (std::uint64_t position = 1; position <= 8; ++position)
        (void)machine.deliver({delivery(position, "k" + std::to_string(position))});
    for (int round = 0; round < 60; ++round) {
        while (!machine.running.empty())
            (void)machine.handled(machine.running.begin()->first, {Handled::retry, "no database"});
        (void)machine.pass(1s);
    }
    for (int round = 0; round < 60; ++round) {
        while (!machine.running.empty()) (void)machine.handled(machine.running.begin()->first, Handled::done);
        (void)machine.pass(1s);
    }
    EXPECT_EQ(machine->held(), machine.publishing.size());
    return machine.letters.size();
}

/// One member parked a key; its queue moves to another member, which has the group's memory. What of the key does that run?
std::vector<std::uint64_t> started_behind_another_members_poison() {
    const std::vector<ParkedKey> of_the_group{{{"orders", "a"}, delivery(1, "a").message.id, "no stock"}};
    Machine machine{{}, {.parked_keys = true}};
    const std::vector<Delivery> received{delivery(2, "a"), delivery(3, "b")};
    if (machine->wants_parked_keys(received)) machine->parked_loaded(of_the_group);
    return started(machine.deliver(received));
}

TEST_F(ConsumerMutants, NoneIsActiveByDefault) {
    EXPECT_EQ(dead_letters_of_an_outage(), 0u);
    EXPECT_EQ(started_behind_another_members_poison(), std::vector<std::uint64_t>{3});
}

TEST_F(ConsumerMutants, CountingAttemptsOfAnOutageGivesGoodMessagesUp) {
    activate_mutant("outage_counts_attempts");
    EXPECT_GT(dead_letters_of_an_outage(), 0u);
}

TEST_F(ConsumerMutants, ForgettingPoisonOnARebalanceLetsItsSuccessorsOvertake) {
    activate_mutant("poison_forgotten_on_rebalance");
    EXPECT_EQ(started_behind_another_members_poison(), (std::vector<std::uint64_t>{2, 3}));
}

}  // namespace
}  // namespace hufu
