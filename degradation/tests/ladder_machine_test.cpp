// Where messages go, and how they come back.
#include "tests/ladder_rig.hpp"

namespace hufu::degradation {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Overload = LadderOptions::Overload;

TEST(LadderMachine, PublishesDirectlyWhileAllIsWell) {
    LadderRig rig;
    rig.add("a", "1");
    EXPECT_THAT(rig.under_way(), ElementsAre("1"));
    EXPECT_EQ(rig.place("1"), "open");
    rig.answer();
    EXPECT_EQ(rig.place("1"), "at-broker");
    EXPECT_THAT(rig.redis->messages(), IsEmpty());
    EXPECT_FALSE(rig.machine->degraded());
    EXPECT_EQ(rig.machine->figures().held, 0u);
}

TEST(LadderMachine, BuffersWhatWasUnderWayWhenTheConnectionBroke) {
    LadderRig rig;
    rig.add("a", "1");
    rig.lose_connection();
    EXPECT_EQ(rig.place("1"), "buffer:redis");
    EXPECT_EQ(rig.machine->breakers()[0].state(), BreakerState::open);
    EXPECT_TRUE(rig.machine->degraded());
    rig.add("b", "2");
    rig.add("", "3");
    EXPECT_THAT(rig.under_way(), IsEmpty()) << "nothing is tried at the broker while the breaker is open";
    EXPECT_EQ(rig.place("2"), "buffer:redis");
    EXPECT_EQ(rig.place("3"), "buffer:redis");
    EXPECT_THAT(LadderRig::bodies(rig.redis->messages()), ElementsAre("1", "2", "3"));
}

TEST(LadderMachine, BuffersWhatIsUnansweredOnceTheBreakerIsOpen) {
    LadderRig rig;
    rig.add("", "early");
    const auto silent = rig.out.front();
    rig.out.pop_front();
    rig.pass(50ms);
    rig.open_breaker();
    EXPECT_EQ(rig.place("early"), "open") << "the broker has had 50 ms";
    ASSERT_TRUE(rig.tick_at.has_value());
    EXPECT_LE(*rig.tick_at, rig.clock.steady_now() + 30ms);
    rig.pass(30ms);
    EXPECT_EQ(rig.place("early"), "buffer:redis");
    // The answer that comes after all changes nothing.
    silent->outcomes[0] = {.status = PublishStatus::confirmed};
    rig.machine->published(silent, rig.clock.steady_now());
    rig.step();
    EXPECT_EQ(rig.ended.size(), 2u);
}

TEST(LadderMachine, OpensForABrokerThatKeepsSilentAndBuffers) {
    LadderRig rig;
    rig.add("a", "1");
    rig.pass(79ms);
    EXPECT_EQ(rig.place("1"), "open");
    rig.pass(1ms);
    EXPECT_EQ(rig.place("1"), "buffer:redis");
}

TEST(LadderMachine, KeepsAwayFromARungThatMayLoseMoreThanTheTopicAllows) {
    LadderOptions options = LadderRig::rig_options();
    options.needs = {{"payments", Loss::nothing}};
    LadderRig rig{options};
    rig.open_breaker();
    rig.add("a", "order");
    rig.add("a", "payment", "payments");
    EXPECT_EQ(rig.place("order"), "buffer:redis");
    EXPECT_EQ(rig.place("payment"), "buffer:journal");
}

TEST(LadderMachine, KeepsAwayFromARungWhoseSettingsWereChangedWhileItRan) {
    LadderRig rig;
    rig.open_breaker();
    rig.add("a", "1");
    EXPECT_EQ(rig.place("1"), "buffer:redis");
    rig.redis->state({Loss::everything, "appendonly no"});
    rig.notices.clear();
    ASSERT_TRUE(rig.tick_at.has_value());
    rig.pass(5s);
    rig.add("b", "2");
    EXPECT_EQ(rig.place("2"), "buffer:journal");
    ASSERT_EQ(rig.notices.size(), 2u) << "the breaker, half open by now, and this";
    const auto& told = rig.notices.back();
    EXPECT_EQ(told.kind, LadderNotice::Kind::rung_changed);
    EXPECT_EQ(told.name, "redis");
    EXPECT_EQ(told.text, "may lose everything (appendonly no)");
}

TEST(LadderMachine, GoesToTheJournalWhenRedisIsAwayAndBackWhenItIsThere) {
    LadderRig rig;
    rig.open_breaker();
    rig.redis->go_away();
    rig.add("a", "1");
    EXPECT_EQ(rig.place("1"), "buffer:journal");
    EXPECT_EQ(rig.machine->rungs()[0].state(), LadderRung::State::away);
    rig.redis->come_back();
    rig.pass(100ms);
    EXPECT_EQ(rig.machine->rungs()[0].state(), LadderRung::State::up);
    rig.add("b", "2");
    EXPECT_EQ(rig.place("2"), "buffer:redis");
}

TEST(LadderMachine, GoesToTheNextRungWhenOneKeepsSilent) {
    LadderRig rig;
    rig.open_breaker();
    rig.redis->hold_back(true);
    rig.add("", "1");
    EXPECT_EQ(rig.place("1"), "open");
    rig.pass(250ms);
    EXPECT_EQ(rig.place("1"), "buffer:journal");
    rig.redis->answer_all();
    rig.step();
    EXPECT_EQ(rig.ended.size(), 2u) << "its late answer changes nothing";
}

TEST(LadderMachine, TriesTheSecondBrokerBeforeAnyBuffer) {
    LadderRig rig{LadderRig::rig_options(), 2};
    rig.add("a", "1");
    rig.answer(PublishOutcome{.status = PublishStatus::in_doubt, .error = gone()});
    ASSERT_EQ(rig.out.size(), 1u);
    EXPECT_EQ(rig.out.front()->broker, 1u);
    rig.answer();
    EXPECT_EQ(rig.place("1"), "at-broker");
    rig.add("a", "2");
    EXPECT_EQ(rig.out.front()->broker, 1u);
    rig.lose_connection();
    EXPECT_EQ(rig.place("2"), "buffer:redis");
}

TEST(LadderMachine, GivesBackWhatTheBrokerWillNeverTake) {
    LadderRig rig;
    rig.add("a", "1");
    rig.add("a", "2");
    rig.answer(
        PublishOutcome{.status = PublishStatus::rejected, .error = {ErrorCode::too_large, Disposition::reject, "big"}});
    EXPECT_EQ(rig.place("1"), "rejected");
    EXPECT_EQ(rig.place("2"), "not sent") << "it came before the caller heard of the first one";
    EXPECT_EQ(rig.machine->breakers()[0].state(), BreakerState::closed);
    rig.add("a", "3");
    rig.answer();
    EXPECT_EQ(rig.place("3"), "at-broker");
}

TEST(LadderMachine, DoesNotHideAMissingTopicInABuffer) {
    LadderRig rig;
    rig.add("", "1");
    rig.answer(PublishOutcome{.status = PublishStatus::not_sent,
                              .error = {ErrorCode::not_found, Disposition::retry, "no topic \"orders\""}});
    EXPECT_EQ(rig.place("1"), "not sent");
    EXPECT_EQ(rig.outcomes["1"].error.text(), "no topic \"orders\"");
}

TEST(LadderMachine, SaysWhyNothingTakesAMessage) {
    LadderRig rig;
    rig.open_breaker();
    rig.redis->go_away();
    rig.journal->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "disk full"});
    rig.add("", "1");
    EXPECT_EQ(rig.place("1"), "in doubt") << "redis did not answer: it may hold it";
    EXPECT_THAT(rig.outcomes["1"].error.text(), HasSubstr("redis: away: connection refused"));
    EXPECT_THAT(rig.outcomes["1"].error.text(), HasSubstr("journal: refuses: disk full"));
    rig.add("", "2");
    EXPECT_EQ(rig.place("2"), "not sent");
    EXPECT_EQ(rig.machine->figures().refused, 2u);
}

TEST(LadderMachine, BlockedMessagesWaitForARungOrTheirTime) {
    LadderOptions options = LadderRig::rig_options();
    options.overload = Overload::block;
    LadderRig rig{options};
    rig.open_breaker();
    rig.redis->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "full"});
    rig.journal->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "full"});
    rig.add("a", "1");
    EXPECT_EQ(rig.place("1"), "open");
    EXPECT_EQ(rig.machine->figures().keys_waiting, 1u);
    rig.journal->refuse({});
    for (int i = 0; i < 20; ++i) rig.pass(50ms);
    EXPECT_EQ(rig.place("1"), "buffer:journal");
    rig.journal->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "full"});
    rig.add("b", "2");
    for (int i = 0; i < 220; ++i) rig.pass(50ms);
    EXPECT_EQ(rig.place("2"), "in doubt") << "meanwhile it was a probe that the broker did not answer";
    EXPECT_EQ(rig.outcomes["2"].error.code(), ErrorCode::timeout);
}

TEST(LadderMachine, MemoryIsBoundedAndSheddingMakesRoom) {
    LadderOptions options = LadderRig::rig_options();
    options.overload = Overload::shed;
    options.batch_messages = 2;
    options.held_messages_max = 2;
    LadderRig rig{options};
    rig.open_breaker();
    rig.redis->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "full"});
    rig.journal->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "full"});
    for (const auto* body : {"1", "2", "3"}) rig.add("", body);
    EXPECT_EQ(rig.place("1"), "not sent");
    EXPECT_THAT(rig.outcomes["1"].error.text(), HasSubstr("shed to make room"));
    EXPECT_EQ(rig.place("2"), "open");
    EXPECT_EQ(rig.place("3"), "open");
    EXPECT_EQ(rig.machine->figures().held, 2u);
    EXPECT_EQ(rig.machine->figures().shed, 1u);
}

TEST(LadderMachine, RefusesWhenTheMemoryIsFull) {
    LadderOptions options = LadderRig::rig_options();
    options.batch_messages = 1;
    options.held_messages_max = 1;
    LadderRig rig{options};
    rig.add("", "1");
    EXPECT_FALSE(rig.machine->has_room());
    rig.add("", "2");
    EXPECT_EQ(rig.place("2"), "not sent");
    EXPECT_EQ(rig.outcomes["2"].error.code(), ErrorCode::busy);
    rig.answer();
    EXPECT_EQ(rig.place("1"), "at-broker");
}

TEST(LadderMachine, TheReplayerProbesFirstThenALiveMessageDoes) {
    LadderRig rig;
    rig.open_breaker();
    rig.pass(250ms);
    EXPECT_EQ(rig.machine->breakers()[0].state(), BreakerState::half_open);
    rig.add("", "1");
    EXPECT_EQ(rig.place("1"), "buffer:redis") << "something waits to be replayed: let it probe";
    rig.pass(300ms);
    rig.add("", "2");
    EXPECT_THAT(rig.under_way(), ElementsAre("2"));
    rig.add("", "3");
    EXPECT_EQ(rig.place("3"), "buffer:redis") << "one probe at a time";
    rig.pass(80ms);
    EXPECT_EQ(rig.place("2"), "buffer:redis") << "a probe is not waited for longer than other messages";
}

TEST(LadderMachine, SleepsWhileNobodyProbes) {
    LadderRig rig;
    rig.open_breaker();
    rig.pass(250ms);
    rig.pass(1s);
    ASSERT_EQ(rig.machine->breakers()[0].state(), BreakerState::half_open);
    ASSERT_TRUE(rig.tick_at);
    EXPECT_GT(*rig.tick_at, rig.clock.steady_now()) << "the thread that decides would turn in circles";
}

TEST(LadderMachine, ClosesWhenReplayedMessagesAreConfirmed) {
    LadderRig rig;
    rig.open_breaker();
    EXPECT_FALSE(rig.machine->admit_replay(rig.clock.steady_now()).has_value());
    rig.pass(250ms);
    const std::vector confirmed{PublishOutcome{.status = PublishStatus::confirmed}};
    for (int probe = 0; probe < 3; ++probe) {
        const auto admitted = rig.machine->admit_replay(rig.clock.steady_now());
        ASSERT_TRUE(admitted.has_value());
        rig.machine->replayed(admitted->first, admitted->second, confirmed, rig.clock.steady_now());
    }
    EXPECT_EQ(rig.machine->breakers()[0].state(), BreakerState::closed);
    rig.add("", "1");
    EXPECT_THAT(rig.under_way(), ElementsAre("1"));
}

TEST(LadderMachine, EndsEverythingWhenItCloses) {
    LadderRig rig;
    rig.add("a", "1");
    rig.add("a", "2");
    rig.machine->close();
    rig.step();
    EXPECT_EQ(rig.place("1"), "in doubt");
    EXPECT_EQ(rig.place("2"), "not sent");
    rig.add("a", "3");
    EXPECT_EQ(rig.place("3"), "not sent");
    rig.answer();
    EXPECT_EQ(rig.ended.size(), 3u);
}

TEST(LadderMachine, TellsOfEveryChange) {
    LadderRig rig;
    rig.open_breaker();
    rig.redis->go_away();
    rig.add("", "1");
    std::vector<std::string> told;
    for (const auto& notice : rig.notices) told.push_back(notice.name + " " + notice.text);
    EXPECT_THAT(told, ElementsAre("redis may lose last_second (in memory, for a test)",
                                  "journal may lose nothing (in memory, for a test)",
                                  "0 open: a connection was refused or lost", "redis connection refused"));
}

TEST(LadderOptionsCheck, NamesWhatCannotBe) {
    LadderOptions options;
    std::vector<RungOptions> rungs{{.name = "redis"}, {.name = "redis"}};
    EXPECT_EQ(validate(options, rungs).error().text(), "ladder: two buffers are named \"redis\"");
    rungs = {{.name = "Redis!"}};
    EXPECT_EQ(validate(options, rungs).error().text(), "ladder: \"Redis!\" cannot name a buffer: use a-z, 0-9, '_' and '-'");
    rungs.clear();
    options.held_messages_max = 10;
    EXPECT_EQ(validate(options, rungs).error().text(),
              "ladder: held_messages_max is 10: it must not be below batch_messages, 512");
    options = {};
    options.batch_messages = 0;
    EXPECT_EQ(validate(options, rungs).error().text(),
              "ladder: batch_messages, publishes_max and spills_max must be at least 1");
    EXPECT_EQ(parse_overload("drop").error().text(), "\"drop\" is not a policy: error, block and shed are known");
    EXPECT_EQ(*parse_overload("shed"), Overload::shed);
}

}  // namespace
}  // namespace hufu::degradation
