#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine_under_test.hpp"

namespace hufu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// The batches among the starts, each a list of positions.
std::vector<std::vector<std::uint64_t>> batches(const ConsumerActions& actions) {
    std::vector<std::vector<std::uint64_t>> all;
    ConsumerJob last = 0;
    for (const auto& start : actions.start) {
        if (start.batch != last) all.emplace_back();
        last = start.batch;
        all.back().push_back(start.delivery->tag.position);
    }
    return all;
}

TEST(ConsumerBatches, TakeDifferentKeysUpToTheirSize) {
    Machine machine{{.running_max = 2, .batch_max = 3}};
    const auto first = machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "b"), delivery(4, ""),
                                        delivery(5, "c"), delivery(6, "d"), delivery(7, "e")});
    EXPECT_THAT(batches(first), ElementsAre(ElementsAre(1, 3, 4), ElementsAre(5, 6, 7)));
    EXPECT_EQ(machine->running(), 2u) << "handler calls, not messages";
    const auto next = machine.handled_together({{1, Handled::done}, {3, Handled::already_done}, {4, Handled::done}});
    EXPECT_THAT(acknowledged(next), ElementsAre(1, 3, 4));
    EXPECT_EQ(next.done, 2u);
    EXPECT_EQ(next.absorbed, 1u);
    EXPECT_THAT(batches(next), ElementsAre(ElementsAre(2)));
}

TEST(ConsumerBatches, HaveOneAnswerForEachMessage) {
    Machine machine{{.retry = RetrySchedule::ladder({10s}), .batch_max = 3}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "b"), delivery(3, "c")});
    // The first was ready alone, before the others were there to join it.
    (void)machine.handled_together({{1, Handled::done}, {2, {Handled::retry, "later"}}, {3, {Handled::reject, "never"}}});
    EXPECT_THAT(machine.letters, SizeIs(1));
    EXPECT_EQ(machine.letters.at(3).headers.get(header::dead_reason), "never");
    EXPECT_THAT(started(machine.pass(10s)), ElementsAre(2));
}

TEST(ConsumerBatches, TakeARunOfAKeyInOrderWhenAskedFor) {
    Machine machine{{.running_max = 1, .batch_max = 4, .batch_of = ConsumerOptions::BatchOf::key_runs}};
    const auto first = machine.deliver(
        {delivery(1, "a"), delivery(2, "b"), delivery(3, "a"), delivery(4, "a"), delivery(5, "b"), delivery(6, "b")});
    EXPECT_THAT(batches(first), ElementsAre(ElementsAre(1, 3, 4, 2)));
    const auto next =
        machine.handled_together({{1, Handled::done}, {3, Handled::done}, {4, Handled::done}, {2, Handled::done}});
    EXPECT_THAT(acknowledged(next), ElementsAre(1, 3, 4, 2));
    EXPECT_THAT(batches(next), ElementsAre(ElementsAre(5, 6)));
}

TEST(ConsumerBatches, WhatIsBehindAFailureInARunWasNotTried) {
    Machine machine{{.retry = RetrySchedule::ladder({10s}), .batch_max = 3, .batch_of = ConsumerOptions::BatchOf::key_runs}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "a")});
    const auto failed =
        machine.handled_together({{1, Handled::done}, {2, {Handled::retry, "later"}}, {3, {Handled::retry, "behind"}}});
    EXPECT_THAT(acknowledged(failed), ElementsAre(1));
    EXPECT_THAT(failed.notices, SizeIs(1)) << "one failure";
    const auto again = machine.pass(10s);
    EXPECT_THAT(batches(again), ElementsAre(ElementsAre(2, 3)));
    EXPECT_EQ(again.start[0].attempt, 2u);
    EXPECT_EQ(again.start[1].attempt, 1u);
    const auto dead = machine.handled_together({{2, {Handled::retry, "still"}}, {3, {Handled::retry, "behind"}}});
    EXPECT_THAT(dead.dead_letters, SizeIs(1));
    EXPECT_THAT(machine.settled(2, true).dead_letters, SizeIs(1));
    EXPECT_EQ(machine.letters.at(3).headers.get(header::dead_reason), "behind a dead letter of its key");
    EXPECT_EQ(machine.letters.at(3).headers.get(header::attempts), "0");
}

TEST(ConsumerBatches, WhatAHandlerDidBehindAFailureIsDone) {
    Machine machine{{.retry = RetrySchedule::ladder({10s}), .batch_max = 2, .batch_of = ConsumerOptions::BatchOf::key_runs}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a")});
    const auto actions = machine.handled_together({{1, {Handled::retry, "later"}}, {2, Handled::done}});
    EXPECT_THAT(acknowledged(actions), ElementsAre(2));
    EXPECT_THAT(started(machine.pass(10s)), ElementsAre(1));
    EXPECT_EQ(machine->held(), 1u);
}

TEST(ConsumerBatches, TakeATokenForEachMessage) {
    Machine machine{{.rate_per_second = 10, .rate_burst = 3, .batch_max = 8}};
    EXPECT_THAT(started(machine.deliver({delivery(1, ""), delivery(2, ""), delivery(3, ""), delivery(4, "")})),
                ElementsAre(1, 2, 3));
    EXPECT_THAT(started(machine.pass(100ms)), ElementsAre(4));
}

TEST(ConsumerBatches, OfAQueueThatIsLostAreNotAcknowledged) {
    Machine machine{{.batch_max = 2}};
    (void)machine.deliver({delivery(1, "a", 1), delivery(2, "b", 2)});
    (void)machine.lose(1);
    EXPECT_THAT(acknowledged(machine.handled_together({{1, Handled::done}, {2, Handled::done}})), ElementsAre(2));
    EXPECT_EQ(machine->held(), 0u);
}

TEST(ConsumerBatches, AreStoppedInTheMiddleOfARun) {
    Machine machine{{.batch_max = 2, .batch_of = ConsumerOptions::BatchOf::key_runs}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "a")});
    (void)machine.stop();
    const auto actions = machine.handled_together({{1, {Handled::retry, "later"}}, {2, {Handled::retry, "behind"}}});
    EXPECT_THAT(actions.acknowledge, IsEmpty());
    EXPECT_TRUE(machine->finished());
    EXPECT_EQ(machine->held(), 0u);
}

TEST(ConsumerBatches, HaveRules) {
    const auto text = [](ConsumerOptions options) { return validate(options).error().text(); };
    EXPECT_THAT(text({.group = "a", .batch_max = 0}), HasSubstr("batch_max is 0"));
    EXPECT_THAT(
        text({.group = "a", .order = ConsumerOptions::Order::concurrent, .batch_of = ConsumerOptions::BatchOf::key_runs}),
        HasSubstr("key_runs"));
}

}  // namespace
}  // namespace hufu
