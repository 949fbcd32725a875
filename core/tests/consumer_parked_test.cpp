#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine_under_test.hpp"

namespace hufu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = ConsumerActions::Notice::Kind;

const ConsumerKey key_a{"orders", "a"};

TEST(ConsumerParkedKeys, AreWantedBeforeTheFirstDeliveryOfEachSession) {
    Machine machine{{}, {.parked_keys = true}};
    const std::vector<Delivery> first{delivery(1, "a")};
    EXPECT_TRUE(machine->wants_parked_keys(first));
    (void)machine.deliver(first);
    EXPECT_FALSE(machine->wants_parked_keys(std::vector<Delivery>{delivery(2, "a")}));
    EXPECT_TRUE(machine->wants_parked_keys(std::vector<Delivery>{delivery(2, "a"), delivery(1, "b", 2)}));
    EXPECT_TRUE(machine->wants_parked_keys(std::vector<Delivery>{delivery(2, "a", 1, 2)})) << "it came back";
    Machine without;
    EXPECT_FALSE(without->wants_parked_keys(first));
}

TEST(ConsumerParkedKeys, StopTheSuccessorsOfAnotherMembersPoison) {
    Machine machine{{}, {.parked_keys = true}};
    machine->parked_loaded({{key_a, delivery(1, "a").message.id, "no stock"}});
    const auto actions = machine.deliver({delivery(2, "a"), delivery(3, "b")});
    EXPECT_THAT(started(actions), ElementsAre(3));
    EXPECT_EQ(machine.letters.at(2).headers.get(header::dead_reason), "behind a dead letter of its key");
    EXPECT_EQ(actions.dead_letters.at(0).park, std::nullopt) << "it is parked already";
}

TEST(ConsumerParkedKeys, TheMessageItselfComesAgainWithItsOwnReason) {
    Machine machine{{}, {.parked_keys = true}};
    machine->parked_loaded({{key_a, delivery(1, "a").message.id, "no stock"}});
    EXPECT_THAT(machine.deliver({delivery(1, "a")}).start, IsEmpty());
    EXPECT_EQ(machine.letters.at(1).headers.get(header::dead_reason), "no stock");
}

TEST(ConsumerParkedKeys, AreParkedBeforeTheFirstLetterGoesOut) {
    Machine machine{{}, {.parked_keys = true}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "")});
    const auto dead = machine.handled(1, {Handled::reject, "bad\namount"});
    ASSERT_THAT(dead.dead_letters, SizeIs(1));
    EXPECT_EQ(dead.dead_letters[0].park, (ParkedKey{key_a, delivery(1, "a").message.id, "bad amount"}));
    const auto again = [&] {
        (void)machine.settled(1, false);
        return machine.pass(30s);
    }();
    ASSERT_THAT(again.dead_letters, SizeIs(1));
    EXPECT_TRUE(again.dead_letters[0].park.has_value()) << "nobody knows whether it was";
    const auto next = machine.settled(1, true);
    ASSERT_THAT(next.dead_letters, SizeIs(1));
    EXPECT_EQ(next.dead_letters[0].park, std::nullopt);
    EXPECT_EQ(machine.handled(3, {Handled::reject, "bad"}).dead_letters.at(0).park, std::nullopt) << "it has no key";
}

TEST(ConsumerParkedKeys, AReadingFromBeforeTheParkingForgetsNothing) {
    Machine machine{{}, {.parked_keys = true}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a")});
    (void)machine.handled(1, {Handled::reject, "bad"});
    machine->parked_loaded({});
    EXPECT_THAT(machine->dead_keys(), ElementsAre(key_a));
    EXPECT_THAT(machine.settled(1, true).dead_letters, SizeIs(1));
}

TEST(ConsumerParkedKeys, AKeyReopenedElsewhereFlowsAgain) {
    Machine machine{{}, {.parked_keys = true}};
    machine->parked_loaded({{key_a, {}, "no stock"}});
    (void)machine.deliver({delivery(2, "a")});
    (void)machine.settled(2, true);
    machine->parked_loaded({});
    EXPECT_THAT(started(machine.deliver({delivery(3, "a")})), ElementsAre(3));
}

class Attempts : public ::testing::Test {
protected:
    static ConsumerOptions options() { return {.running_max = 4, .held_max = 8, .kills_max = 3}; }
    Machine machine{options(), {.attempt_rows = true}};
};

TEST_F(Attempts, AreAskedAboutAtTheBeginningOfASessionOnly) {
    std::uint64_t asked = 0;
    for (std::uint64_t position = 1; position <= 40; ++position) {
        const auto actions = machine.deliver({delivery(position, "")});
        asked += actions.attempts.size();
        if (!actions.attempts.empty()) {
            EXPECT_THAT(actions.start, IsEmpty()) << "not before the row is there";
            EXPECT_THAT(started(machine.seen({{position, 0}})), ElementsAre(position));
        }
        const auto done = machine.handled(position, Handled::done);
        EXPECT_EQ(done.attempts_over.size(), actions.attempts.size());
    }
    EXPECT_EQ(asked, 8u) << "no more than a process may hold";
    EXPECT_THAT(machine.deliver({delivery(41, "", 1, 2)}).attempts, SizeIs(1)) << "and again after a rebalance";
}

TEST_F(Attempts, DuplicatesOfAnEarlierProcessMakeItAskLonger) {
    std::uint64_t asked = 0;
    for (std::uint64_t position = 1; position <= 40; ++position) {
        asked += machine.deliver({delivery(position, "")}).attempts.size();
        if (machine.asking.contains(position)) (void)machine.seen({{position, 0}});
        (void)machine.handled(position, position <= 20 ? Handled::already_done : Handled::done);
    }
    EXPECT_EQ(asked, 28u) << "twenty that it had handled, and eight that it may have had";
}

TEST_F(Attempts, AMessageUnderWhichTheProcessEndedRunsAlone) {
    (void)machine.deliver({delivery(1, ""), delivery(2, ""), delivery(3, "")});
    const auto first = machine.seen({{1, 0}, {2, 1}, {3, 0}});
    EXPECT_THAT(started(first), ElementsAre(1)) << "the next in turn waits until it is alone";
    ASSERT_THAT(first.notices, SizeIs(1));
    EXPECT_EQ(first.notices[0].kind, Kind::alone);
    const auto turn = machine.handled(1, Handled::done);
    EXPECT_THAT(turn.start, IsEmpty());
    ASSERT_THAT(turn.attempts, SizeIs(1));
    EXPECT_TRUE(turn.attempts[0].again);
    EXPECT_THAT(machine.deliver({delivery(4, "")}).start, IsEmpty());
    EXPECT_THAT(started(machine.seen({{2, 0}, {4, 0}})), ElementsAre(2)) << "and nothing beside it";
    const auto after = machine.handled(2, Handled::done);
    EXPECT_THAT(after.attempts_over, ElementsAre(delivery(2, "").message.id));
    EXPECT_THAT(started(after), ElementsAre(3, 4));
}

TEST_F(Attempts, AMessageThatKeepsEndingTheProcessIsADeadLetter) {
    (void)machine.deliver({delivery(1, "a"), delivery(2, "b")});
    const auto seen = machine.seen({{1, 3}, {2, 2}});
    EXPECT_THAT(*machine.letters.at(1).headers.get(header::dead_reason), HasSubstr("started 3 times and never answered"));
    ASSERT_THAT(seen.attempts, SizeIs(1)) << "the other one has a last chance";
    EXPECT_THAT(machine.settled(1, true).attempts_over, ElementsAre(delivery(1, "").message.id));
}

TEST_F(Attempts, AFailureIsNotADeath) {
    (void)machine.deliver({delivery(1, "")});
    (void)machine.seen({{1, 0}});
    const auto failed = machine.handled(1, {Handled::retry, "no stock"});
    EXPECT_THAT(failed.attempts_over, SizeIs(1));
    EXPECT_THAT(started(machine.pass(10s)), ElementsAre(1)) << "the next attempt is not asked about";
}

TEST_F(Attempts, WhatIsLetGoUnstartedLeavesNoRow) {
    (void)machine.deliver({delivery(1, ""), delivery(2, "", 2)});
    (void)machine.lose(1);
    EXPECT_EQ(machine->held(), 1u);
    (void)machine.seen({{1, 0}, {2, 1}});
    const auto alone = machine.asking.at(2);
    EXPECT_NE(alone, 0u);
    const auto lost = machine.lose(2);
    EXPECT_THAT(lost.attempts_over, ElementsAre(delivery(2, "", 2).message.id));
    EXPECT_THAT(machine.deliver({delivery(5, "", 3)}).attempts, SizeIs(1));
    EXPECT_THAT(started(machine.seen({{5, 0}})), ElementsAre(5)) << "nothing waits for the one that is gone";
}

}  // namespace
}  // namespace hufu
