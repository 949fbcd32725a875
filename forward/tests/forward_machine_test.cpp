#include "tests/rig.hpp"

namespace hufu::forward {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Batches = std::vector<std::vector<std::string>>;

TEST(Forward, AcknowledgesAfterTheTargetConfirmed) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.add("", "x");
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a1", "x"}}));
    EXPECT_THAT(rig.acknowledged, IsEmpty());
    const auto id = rig.stored[0].message.id;
    rig.answer();
    EXPECT_EQ(rig.acknowledged.size(), 2U);
    EXPECT_EQ(rig.arrived[0].id, id) << "the original id";
    EXPECT_EQ(rig.machine->figures().forwarded, 2U);
    EXPECT_EQ(rig.machine->figures().held, 0U);
}

TEST(Forward, TellsGuardsHowOldAMessageIs) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.stored[0].stored_at = SystemTime{std::chrono::seconds{5}};
    rig.restart();
    rig.redeliver();
    rig.step();
    rig.answer();
    EXPECT_EQ(rig.arrived[0].headers.get(header::first_stored_at), "5000000");
}

TEST(Forward, OfAKeyOneBatchIsUnderWay) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.step();
    rig.add("a", "a2");
    rig.add("b", "b1");
    rig.add("a", "a3");
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a1"}, {"b1"}}));
    rig.answer();
    EXPECT_EQ(rig.under_way(), (Batches{{"b1"}, {"a2", "a3"}}));
}

TEST(Forward, BatchesAreBounded) {
    ForwardOptions options = rig_options();
    options.batch_messages = 2;
    options.batches_max = 2;
    Rig rig{options};
    for (int i = 1; i <= 5; ++i) rig.add("a", "a" + std::to_string(i));
    for (int i = 1; i <= 5; ++i) rig.add("", std::to_string(i));
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a1", "a2"}, {"1", "2"}}));
    rig.answer();
    EXPECT_EQ(rig.under_way(), (Batches{{"1", "2"}, {"3", "4"}}));
    while (!rig.out.empty()) rig.answer();
    EXPECT_EQ(rig.arrived.size(), 10U);
}

TEST(Forward, AnOutageIsWaitedForAndParksNothing) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.add("a", "a2");
    rig.add("b", "b1");
    rig.step();
    for (int tries = 0; tries < 100; ++tries) {
        rig.answer({{"a1", tries % 2 == 0 ? not_sent : in_doubt}});
        EXPECT_THAT(rig.under_way(), IsEmpty()) << "a2 does not overtake";
        EXPECT_EQ(rig.machine->figures().keys_waiting, 1U);
        rig.wait();
        EXPECT_EQ(rig.under_way(), (Batches{{"a1", "a2"}}));
    }
    EXPECT_THAT(rig.letters, IsEmpty());
    rig.answer();
    EXPECT_THAT(rig.arrived_bodies(), ElementsAre("b1", "a1", "a2"));
    EXPECT_EQ(rig.machine->figures().keys_waiting, 0U);
    EXPECT_THAT(rig.stored, IsEmpty());
}

TEST(Forward, ARejectedMessageAndItsSuccessorsBecomeDeadLettersInOrder) {
    Rig rig{rig_options()};
    for (const auto* body : {"a1", "a2", "a3"}) rig.add("a", body);
    rig.add("b", "b1");
    rig.step();
    rig.answer({{"a2", rejected}});
    EXPECT_EQ(rig.under_way(), (Batches{{"!a2"}}));
    EXPECT_EQ(rig.stored.size(), 2U) << "not acknowledged before the dead letter is confirmed";
    rig.add("a", "a4");
    rig.answer_all();
    EXPECT_THAT(rig.letter_bodies(), ElementsAre("a2", "a3", "a4"));
    EXPECT_THAT(rig.arrived_bodies(), ElementsAre("a1", "b1"));
    EXPECT_THAT(rig.stored, IsEmpty());
    EXPECT_EQ(rig.letters[0].topic, "%DLQ%g");
    EXPECT_EQ(rig.letters[0].headers.get(header::dead_topic), "orders");
    EXPECT_THAT(std::string{*rig.letters[0].headers.get(header::dead_reason)}, HasSubstr("rejected by the target: why"));
    EXPECT_THAT(std::string{*rig.letters[1].headers.get(header::dead_reason)}, HasSubstr("behind a dead letter"));
    EXPECT_EQ(rig.machine->figures().dead, 3U);
    EXPECT_TRUE(rig.machine->reopen({"orders", "a"}));
    EXPECT_FALSE(rig.machine->reopen({"orders", "a"}));
    rig.add("a", "a5");
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a5"}}));
}

TEST(Forward, SuccessorsGoOnWhereTheMessageAloneIsParked) {
    ForwardOptions options = rig_options();
    options.rejected = ForwardOptions::Rejected::park_message;
    Rig rig{options};
    rig.add("a", "a1");
    rig.add("a", "a2");
    rig.step();
    rig.answer({{"a1", rejected}});
    EXPECT_EQ(rig.under_way(), (Batches{{"!a1"}}));
    rig.answer_all();
    EXPECT_THAT(rig.arrived_bodies(), ElementsAre("a2"));
    EXPECT_THAT(rig.letter_bodies(), ElementsAre("a1"));
}

TEST(Forward, AHeldMessageIsTriedForEverWithItsSuccessorsBehindIt) {
    ForwardOptions options = rig_options();
    options.rejected = ForwardOptions::Rejected::hold;
    Rig rig{options};
    rig.add("a", "a1");
    rig.add("a", "a2");
    rig.step();
    rig.answer({{"a1", rejected}});
    EXPECT_THAT(rig.under_way(), IsEmpty());
    ASSERT_EQ(rig.notices.size(), 1U);
    EXPECT_EQ(rig.notices[0].kind, ForwardActions::Notice::Kind::stuck);
    rig.wait();
    rig.answer();
    EXPECT_THAT(rig.arrived_bodies(), ElementsAre("a1", "a2"));
    EXPECT_THAT(rig.letters, IsEmpty());
}

TEST(Forward, ADeadLetterThatIsNotConfirmedIsTriedAgain) {
    Rig rig{rig_options()};
    rig.add("", "x");
    rig.step();
    rig.answer({{"x", rejected}});
    rig.answer({{"x", rejected}});
    EXPECT_EQ(rig.notices.back().kind, ForwardActions::Notice::Kind::stuck);
    EXPECT_THAT(rig.acknowledged, IsEmpty());
    rig.wait();
    EXPECT_EQ(rig.under_way(), (Batches{{"!x"}}));
    rig.answer();
    EXPECT_EQ(rig.acknowledged.size(), 1U);
}

TEST(Forward, WhenTheMemoryOfParkedKeysIsFullTheNextIsHeld) {
    ForwardOptions options = rig_options();
    options.parked_keys_max = 1;
    Rig rig{options};
    rig.add("a", "a1");
    rig.add("b", "b1");
    rig.step();
    rig.answer({{"a1", rejected}, {"b1", rejected}});
    rig.answer_all();
    EXPECT_THAT(rig.letter_bodies(), ElementsAre("a1"));
    EXPECT_EQ(rig.machine->figures().keys_waiting, 1U);
}

TEST(Forward, ALostQueueIsLetGo) {
    Rig rig{rig_options()};
    rig.add("a", "a1", 0);
    rig.add("b", "b1", 1);
    rig.step();
    rig.add("a", "a2", 0);
    rig.step();
    const std::uint64_t lost[] = {0};
    rig.machine->lose(lost);
    rig.answer();
    ASSERT_EQ(rig.acknowledged.size(), 1U) << "only what is still ours";
    EXPECT_EQ(rig.acknowledged[0].queue, 1U);
    EXPECT_THAT(rig.under_way(), IsEmpty());
    EXPECT_EQ(rig.machine->figures().held, 0U);
    rig.machine->deliver({rig.stored[0]});
    rig.step();
    EXPECT_THAT(rig.under_way(), IsEmpty()) << "a straggler of the lost session";
    rig.redeliver();
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a1", "a2"}}));
}

TEST(Forward, AQueueThatComesBackWaitsForWhatIsStillUnderWay) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.step();
    rig.redeliver();  // a new session, without a word of the loss
    rig.add("a", "a2");
    rig.step();
    EXPECT_EQ(rig.under_way(), (Batches{{"a1"}}));
    rig.answer({{"a1", in_doubt}});
    EXPECT_EQ(rig.under_way(), (Batches{{"a1", "a2"}})) << "the new session's";
    rig.answer();
    EXPECT_THAT(rig.stored, IsEmpty());
}

TEST(Forward, StoppingAcknowledgesWhatIsUnderWayAndDropsTheRest) {
    Rig rig{rig_options()};
    rig.add("a", "a1");
    rig.add("b", "b1");
    rig.step();
    rig.add("a", "a2");
    rig.machine->stop();
    EXPECT_FALSE(rig.step().finished);
    rig.answer({{"b1", not_sent}});
    EXPECT_EQ(rig.acknowledged.size(), 1U);
    EXPECT_TRUE(rig.step().finished);
    EXPECT_EQ(rig.machine->figures().held, 0U);
    EXPECT_EQ(rig.machine->room(), 0U);
    EXPECT_EQ(rig.stored.size(), 2U) << "they come again";
}

TEST(Forward, HoldsNoMoreThanItMay) {
    ForwardOptions options = rig_options();
    options.held_messages_max = options.batch_messages = 3;
    Rig rig{options};
    EXPECT_EQ(rig.machine->room(), 3U);
    rig.add("a", "a1");
    rig.add("a", "a2");
    EXPECT_EQ(rig.machine->room(), 1U);
    options.held_bytes_max = 10;
    Rig small{options};
    small.add("a", "a1");
    EXPECT_EQ(small.machine->room(), 0U);
    small.step();
    small.answer();
    EXPECT_EQ(small.machine->room(), 3U);
}

TEST(Forward, OptionsThatMakeNoSenseAreRefused) {
    const auto text = [](const ForwardOptions& options) {
        const auto fine = validate(options);
        return fine ? std::string{} : fine.error().text();
    };
    EXPECT_EQ(text(rig_options()), "");
    EXPECT_THAT(text({.group = ""}), HasSubstr("group"));
    EXPECT_THAT(text({.group = "g", .batch_messages = 0}), HasSubstr("batch_messages"));
    EXPECT_THAT(text({.group = "g", .held_messages_max = 1}), HasSubstr("held_messages_max"));
    EXPECT_THAT(text({.group = "g", .retry = RetrySchedule::default_ladder()}), HasSubstr("must not end"));
}

}  // namespace
}  // namespace hufu::forward
