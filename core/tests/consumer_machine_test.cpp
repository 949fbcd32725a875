#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/random.hpp>

#include "machine_under_test.hpp"

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = ConsumerActions::Notice::Kind;

ConsumerOptions two_attempts() { return {.retry = RetrySchedule::ladder({10s})}; }

TEST(ConsumerMachine, RunsDifferentKeysAtTheSameTimeAndOneKeyInOrder) {
    Machine machine;
    EXPECT_THAT(started(machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "b"), delivery(4, "")})),
                ElementsAre(1, 3, 4));
    const auto actions = machine.handled(1, Handled::done);
    EXPECT_THAT(acknowledged(actions), ElementsAre(1));
    EXPECT_THAT(started(actions), ElementsAre(2));
}

TEST(ConsumerMachine, KeysOfDifferentTopicsDoNotWaitForEachOther) {
    Machine machine;
    auto other = delivery(2, "a");
    other.message.topic = "payments";
    EXPECT_THAT(started(machine.deliver({delivery(1, "a"), other})), ElementsAre(1, 2));
}

TEST(ConsumerMachine, ConcurrentModeIgnoresKeys) {
    Machine machine{{.order = ConsumerOptions::Order::concurrent}};
    EXPECT_THAT(started(machine.deliver({delivery(1, "a"), delivery(2, "a")})), ElementsAre(1, 2));
}

TEST(ConsumerMachine, RunsNoMoreThanRunningMax) {
    Machine machine{{.running_max = 2}};
    EXPECT_THAT(started(machine.deliver({delivery(1, ""), delivery(2, ""), delivery(3, "")})), ElementsAre(1, 2));
    EXPECT_THAT(started(machine.handled(2, Handled::already_done)), ElementsAre(3));
}

TEST(ConsumerMachine, TellsTheRoomThatIsLeft) {
    Machine machine{{.running_max = 1, .held_max = 3}};
    EXPECT_EQ(machine->room(), 3u);
    (void)machine.deliver({delivery(1, ""), delivery(2, ""), delivery(3, "")});
    EXPECT_EQ(machine->room(), 0u);
    (void)machine.handled(1, Handled::done);
    EXPECT_EQ(machine->room(), 1u);
}

TEST(ConsumerMachine, CountsAbsorbedDuplicatesApart) {
    Machine machine;
    (void)machine.deliver({delivery(1, "")});
    const auto actions = machine.handled(1, Handled::already_done);
    EXPECT_EQ(actions.absorbed, 1u);
    EXPECT_EQ(actions.done, 0u);
    EXPECT_THAT(acknowledged(actions), ElementsAre(1));
}

TEST(ConsumerMachine, AFailedMessageWaitsWithItsSuccessorsWhileOtherKeysFlow) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a")});
    const auto failed = machine.handled(1, {Handled::retry, "no stock"});
    EXPECT_THAT(failed.start, IsEmpty());
    EXPECT_THAT(failed.acknowledge, IsEmpty());
    ASSERT_THAT(failed.notices, SizeIs(1));
    EXPECT_EQ(failed.notices[0].kind, Kind::retry);
    EXPECT_EQ(failed.notices[0].reason, "no stock");
    EXPECT_EQ(failed.notices[0].wait, 10s);
    EXPECT_THAT(started(machine.deliver({delivery(3, "b")})), ElementsAre(3));

    EXPECT_EQ(machine->wake_at(), SteadyTime{1h} + 10s);
    EXPECT_THAT(started(machine.pass(9'999ms)), IsEmpty());
    const auto again = machine.pass(1ms);
    EXPECT_THAT(started(again), ElementsAre(1));
    EXPECT_EQ(again.start[0].attempt, 2u);
}

TEST(ConsumerMachine, AnAnswerOutsideTheEnumerationIsAFailure) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "")});
    const auto actions = machine.handled(1, static_cast<Handled>(77));
    EXPECT_THAT(actions.acknowledge, IsEmpty());
    ASSERT_THAT(actions.notices, SizeIs(1));
    EXPECT_EQ(actions.notices[0].kind, Kind::retry);
}

TEST(ConsumerMachine, AcknowledgesADeadMessageOnlyAfterItsLetterIsConfirmed) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.handled(1, {Handled::retry, "no stock"});
    (void)machine.pass(10s);
    const auto dead = machine.handled(1, {Handled::retry, "still no stock"});
    EXPECT_THAT(dead.acknowledge, IsEmpty());
    ASSERT_THAT(dead.dead_letters, SizeIs(1));

    const Message& letter = machine.letters.at(1);
    const auto original = delivery(1, "a").message;
    EXPECT_EQ(letter.topic, "%DLQ%stock");
    EXPECT_EQ(letter.id, original.id);
    EXPECT_EQ(letter.ordering_key, "a");
    EXPECT_EQ(letter.tag, "paid");
    EXPECT_EQ(letter.body, "x");
    EXPECT_EQ(letter.headers.get(header::dead_reason), "still no stock");
    EXPECT_EQ(letter.headers.get(header::dead_topic), "orders");
    EXPECT_EQ(letter.headers.get(header::attempts), "2");
    EXPECT_TRUE(validate(letter).has_value());

    const auto settled = machine.settled(1, true);
    EXPECT_THAT(acknowledged(settled), ElementsAre(1));
    ASSERT_THAT(settled.notices, SizeIs(1));
    EXPECT_EQ(settled.notices[0].kind, Kind::dead);
}

TEST(ConsumerMachine, TriesADeadLetterAgainUntilItIsConfirmed) {
    Machine machine{{.dead_letter_retry = RetrySchedule::ladder({1s})}};
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.handled(1, {Handled::reject, "negative amount"});
    for (int round = 0; round < 5; ++round) {
        const auto failed = machine.settled(1, false);
        EXPECT_THAT(failed.acknowledge, IsEmpty());
        ASSERT_THAT(failed.notices, SizeIs(1));
        EXPECT_EQ(failed.notices[0].kind, Kind::dead_letter_failed);
        EXPECT_EQ(failed.notices[0].reason, "broker away");
        EXPECT_THAT(machine.pass(999ms).dead_letters, IsEmpty());
        EXPECT_THAT(machine.pass(1ms).dead_letters, SizeIs(1));
    }
    EXPECT_THAT(acknowledged(machine.settled(1, true)), ElementsAre(1));
}

TEST(ConsumerMachine, RejectedSkipsTheLadder) {
    Machine machine;
    (void)machine.deliver({delivery(1, "")});
    const auto actions = machine.handled(1, {Handled::reject, "negative amount"});
    EXPECT_THAT(actions.dead_letters, SizeIs(1));
    EXPECT_EQ(machine.letters.at(1).headers.get(header::attempts), "1");
}

TEST(ConsumerMachine, SuccessorsOfADeadLetterFollowItInOrder) {
    Machine machine;
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "a"), delivery(4, "b")});
    (void)machine.handled(1, {Handled::reject, "bad"});
    const auto second = machine.settled(1, true);
    EXPECT_THAT(second.start, IsEmpty());
    ASSERT_THAT(second.dead_letters, SizeIs(1)) << "one at a time, so that the letters keep the order";
    EXPECT_EQ(machine.letters.at(2).headers.get(header::dead_reason), "behind a dead letter of its key");
    EXPECT_EQ(machine.letters.at(2).headers.get(header::attempts), "0");
    EXPECT_THAT(acknowledged(machine.settled(2, true)), ElementsAre(2));
    EXPECT_THAT(acknowledged(machine.settled(3, true)), ElementsAre(3));

    const auto later = machine.deliver({delivery(5, "a")});
    EXPECT_THAT(later.start, IsEmpty());
    EXPECT_THAT(later.dead_letters, SizeIs(1));
    EXPECT_THAT(machine->dead_keys(), ElementsAre(ConsumerKey{"orders", "a"}));
}

TEST(ConsumerMachine, AReopenedKeyFlowsAgain) {
    Machine machine{{.dead_keys = {{"orders", "a"}}}};
    EXPECT_THAT(machine.deliver({delivery(1, "a")}).dead_letters, SizeIs(1)) << "known from an earlier process";
    (void)machine.settled(1, true);
    EXPECT_TRUE(machine->reopen({"orders", "a"}));
    EXPECT_FALSE(machine->reopen({"orders", "a"}));
    EXPECT_THAT(started(machine.deliver({delivery(2, "a")})), ElementsAre(2));
}

TEST(ConsumerMachine, SuccessorsAreLetThroughWhenAskedFor) {
    Machine machine{{.successors = ConsumerOptions::Successors::let_through}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a")});
    EXPECT_THAT(machine.handled(1, {Handled::reject, "bad"}).start, IsEmpty()) << "not before the letter is confirmed";
    EXPECT_THAT(started(machine.settled(1, true)), ElementsAre(2));
}

TEST(ConsumerMachine, AReasonIsCleanedForTheWire) {
    Machine machine;
    (void)machine.deliver({delivery(1, "")});
    (void)machine.handled(1, {Handled::reject, std::string("a\x01"
                                                           "b\n") +
                                                   std::string(1018, 'c') + "\xe2\x82\xac"});
    const auto reason = *machine.letters.at(1).headers.get(header::dead_reason);
    EXPECT_TRUE(reason.starts_with("a b c"));
    EXPECT_EQ(reason.size(), 1022u) << "cut before the character that does not fit";
    EXPECT_TRUE(validate(machine.letters.at(1)).has_value());
}

TEST(ConsumerMachine, CountsTheAttemptsTheBrokerCounted) {
    Machine machine{{.retry = RetrySchedule::ladder({10s, 20s})}};
    auto redelivered = delivery(1, "");
    redelivered.broker_attempts = 2;
    const auto first = machine.deliver({redelivered});
    EXPECT_EQ(first.start[0].attempt, 3u);
    EXPECT_THAT(machine.handled(1, Handled::retry).dead_letters, SizeIs(1));
    EXPECT_EQ(machine.letters.at(1).headers.get(header::attempts), "3");
}

TEST(ConsumerMachine, DropsWhatALostQueueHasNotStarted) {
    Machine machine{{.running_max = 1, .retry = RetrySchedule::ladder({10s})}};
    (void)machine.deliver({delivery(1, "a", 1), delivery(2, "a", 1), delivery(3, "", 1), delivery(4, "", 2)});
    const auto actions = machine.lose(1);
    EXPECT_THAT(actions.notices, SizeIs(2));
    EXPECT_EQ(actions.notices[0].kind, Kind::dropped);
    const auto after = machine.handled(1, Handled::done);
    EXPECT_THAT(after.acknowledge, IsEmpty()) << "another member has it";
    EXPECT_EQ(after.done, 1u);
    EXPECT_THAT(started(after), ElementsAre(4));
    EXPECT_EQ(machine->held(), 1u);
}

TEST(ConsumerMachine, AFailureOfALostMessageIsForgotten) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.lose(1);
    const auto actions = machine.handled(1, {Handled::reject, "bad"});
    EXPECT_THAT(actions.dead_letters, IsEmpty());
    EXPECT_EQ(machine->held(), 0u);
    EXPECT_THAT(machine->dead_keys(), IsEmpty());
}

TEST(ConsumerMachine, ALostMessageLeavesItsBackoff) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.handled(1, Handled::retry);
    (void)machine.lose(1);
    EXPECT_EQ(machine->held(), 0u);
    EXPECT_EQ(machine->wake_at(), std::nullopt);
}

TEST(ConsumerMachine, AQueueThatComesBackWaitsForTheHandlerOfItsEarlierSession) {
    Machine machine;
    (void)machine.deliver({delivery(1, "a", 1, 1)});
    const auto old_job = machine.running.at(1);
    (void)machine.lose(1);
    EXPECT_THAT(started(machine.deliver({delivery(1, "a", 1, 2)})), IsEmpty()) << "one key never runs twice at once";
    const auto after = machine->handled(old_job, Handled::done, machine.now);
    EXPECT_THAT(after.acknowledge, IsEmpty());
    EXPECT_THAT(started(after), ElementsAre(1));
    EXPECT_EQ(after.start[0].delivery->tag.session, 2u);
}

TEST(ConsumerMachine, DeliveriesOfALostSessionAreDroppedAndThoseOfTheNextTaken) {
    Machine machine;
    (void)machine.deliver({delivery(1, "", 1, 7)});
    (void)machine.lose(1);
    EXPECT_THAT(started(machine.deliver({delivery(2, "", 1, 7)})), IsEmpty());
    EXPECT_THAT(started(machine.deliver({delivery(2, "", 1, 8)})), ElementsAre(2));
}

TEST(ConsumerMachine, ANewSessionReplacesTheOldOneBeforeTheLossIsTold) {
    Machine machine{{.running_max = 1}};
    (void)machine.deliver({delivery(1, "a", 1, 1), delivery(2, "a", 1, 1)});
    (void)machine.deliver({delivery(1, "a", 1, 2), delivery(2, "a", 1, 2)});
    EXPECT_EQ(machine->held(), 3u) << "the running one and two of the new session";
    (void)machine.lose(1);
    EXPECT_EQ(machine->held(), 1u);
}

TEST(ConsumerMachine, ReportsAnOverdueHandlerOnceAndTakesItsAnswer) {
    Machine machine{{.handler_timeout = 5s}};
    (void)machine.deliver({delivery(1, "")});
    const auto late = machine.pass(5s);
    ASSERT_THAT(late.notices, SizeIs(1));
    EXPECT_EQ(late.notices[0].kind, Kind::overdue);
    EXPECT_THAT(late.notices[0].reason, HasSubstr("5000 ms"));
    EXPECT_THAT(machine.pass(1min).notices, IsEmpty());
    EXPECT_THAT(acknowledged(machine.handled(1, Handled::done)), ElementsAre(1));
}

TEST(ConsumerMachine, StopFinishesWhatRunsAndDropsTheRest) {
    Machine machine{{.running_max = 1, .retry = RetrySchedule::ladder({10s})}};
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a"), delivery(3, "")});
    const auto stopping = machine.stop();
    EXPECT_THAT(stopping.notices, SizeIs(2));
    EXPECT_FALSE(machine->finished());
    EXPECT_EQ(machine->room(), 0u);
    const auto last = machine.handled(1, Handled::done);
    EXPECT_THAT(acknowledged(last), ElementsAre(1));
    EXPECT_THAT(last.start, IsEmpty());
    EXPECT_TRUE(machine->finished());
    EXPECT_EQ(machine->held(), 0u);
    EXPECT_THAT(started(machine.deliver({delivery(4, "")})), IsEmpty());
}

TEST(ConsumerMachine, AFailureWhileStoppingComesAgain) {
    Machine machine{two_attempts()};
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.stop();
    const auto actions = machine.handled(1, {Handled::retry, "no stock"});
    EXPECT_THAT(actions.acknowledge, IsEmpty());
    ASSERT_THAT(actions.notices, SizeIs(1));
    EXPECT_EQ(actions.notices[0].kind, Kind::dropped);
    EXPECT_THAT(actions.notices[0].reason, HasSubstr("no stock"));
    EXPECT_TRUE(machine->finished());
}

TEST(ConsumerMachine, StopAwaitsADeadLetterOnItsWay) {
    Machine machine;
    (void)machine.deliver({delivery(1, "a"), delivery(2, "a")});
    (void)machine.handled(1, {Handled::reject, "bad"});
    (void)machine.stop();
    EXPECT_FALSE(machine->finished());
    const auto settled = machine.settled(1, true);
    EXPECT_THAT(acknowledged(settled), ElementsAre(1));
    EXPECT_TRUE(machine->finished());
    EXPECT_EQ(machine->held(), 0u);
}

TEST(ConsumerMachine, StopDropsADeadLetterThatWasNotConfirmed) {
    Machine machine;
    (void)machine.deliver({delivery(1, "a")});
    (void)machine.handled(1, {Handled::reject, "bad"});
    (void)machine.stop();
    EXPECT_THAT(machine.settled(1, false).acknowledge, IsEmpty());
    EXPECT_TRUE(machine->finished());
    EXPECT_EQ(machine->held(), 0u);
}

TEST(ConsumerMachine, StartsNoMoreThanTheRateAllows) {
    Machine machine{{.rate_per_second = 10, .rate_burst = 2}};
    EXPECT_THAT(started(machine.deliver({delivery(1, ""), delivery(2, ""), delivery(3, ""), delivery(4, "")})),
                ElementsAre(1, 2));
    EXPECT_EQ(machine->wake_at(), machine.now + 100ms);
    EXPECT_THAT(started(machine.pass(99ms)), IsEmpty());
    EXPECT_THAT(started(machine.pass(1ms)), ElementsAre(3));
    EXPECT_THAT(started(machine.pass(100ms)), ElementsAre(4));
}

TEST(ConsumerOptionsRules, NameOptionAndValue) {
    const auto text = [](ConsumerOptions options) { return validate(options).error().text(); };
    EXPECT_THAT(text({}), HasSubstr("group is empty"));
    EXPECT_THAT(text({.group = "a b"}), HasSubstr("\"a b\""));
    EXPECT_THAT(text({.group = "a", .running_max = 0}), HasSubstr("running_max is 0"));
    EXPECT_THAT(text({.group = "a", .running_max = 9, .held_max = 8}), HasSubstr("held_max is 8"));
    EXPECT_THAT(text({.group = "a", .rate_per_second = -1}), HasSubstr("rate_per_second is -1"));
    EXPECT_TRUE(validate(ConsumerOptions{.group = "stock"}).has_value());
}

// One key, random answers, losses and confirmations: effects stay in order and nothing is acknowledged that was not dealt with.
TEST(ConsumerMachine, KeepsTheOrderOfAKeyUnderRandomEvents) {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SeededRandom random{seed};
        Machine machine{{.running_max = 3, .retry = RetrySchedule::ladder({1s, 1s})}};
        std::map<std::string, std::uint64_t> last_dealt;
        std::uint64_t position = 0;
        const auto keys = std::array<std::string, 3>{"a", "b", "c"};
        std::map<std::uint64_t, std::string> key_of;
        for (int step = 0; step < 200; ++step) {
            switch (random.below(5)) {
                case 0: {
                    const auto& key = keys[random.below(3)];
                    if (position >= 250 || machine->room() == 0) break;
                    key_of[++position] = key;
                    (void)machine.deliver({delivery(position, key)});
                    break;
                }
                case 1:
                case 2: {
                    if (machine.running.empty()) break;
                    auto chosen = machine.running.begin();
                    std::advance(chosen, static_cast<std::ptrdiff_t>(random.below(machine.running.size())));
                    const auto handled = chosen->first;
                    const bool fine = random.below(3) != 0;
                    const auto actions = machine.handled(handled, fine ? Handled::done : Handled::retry);
                    if (fine) {
                        ASSERT_EQ(actions.acknowledge.size(), 1u);
                        ASSERT_GT(handled, last_dealt[key_of[handled]]) << "seed " << seed;
                        ASSERT_FALSE(machine->dead_keys().contains({"orders", key_of[handled]})) << "seed " << seed;
                        last_dealt[key_of[handled]] = handled;
                    }
                    break;
                }
                case 3: {
                    if (machine.publishing.empty()) break;
                    const auto letter = machine.publishing.begin()->first;
                    const bool confirmed = random.below(2) == 0;
                    const auto actions = machine.settled(letter, confirmed);
                    ASSERT_EQ(actions.acknowledge.size(), confirmed ? 1u : 0u);
                    if (confirmed) {
                        ASSERT_GT(letter, last_dealt[key_of[letter]]) << "seed " << seed;
                        last_dealt[key_of[letter]] = letter;
                    }
                    break;
                }
                default: (void)machine.pass(500ms); break;
            }
            std::map<std::string, int> busy;
            for (const auto& [running, job] : machine.running) ASSERT_EQ(++busy[key_of[running]], 1) << "seed " << seed;
        }
        (void)machine.stop();
        while (!machine.running.empty()) (void)machine.handled(machine.running.begin()->first, Handled::done);
        while (!machine.publishing.empty()) (void)machine.settled(machine.publishing.begin()->first, true);
        ASSERT_TRUE(machine->finished());
        ASSERT_EQ(machine->held(), 0u);
    }
}

}  // namespace
}  // namespace hufu
