// Order per key, whatever rung a message waits on.
#include "tests/ladder_rig.hpp"

namespace hufu::degradation {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LadderOrder, ANewerMessageQueuesBehindItsKeyThoughTheBrokerIsBack) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.lose_connection();
    rig.pass(250ms);
    rig.pass(300ms);
    for (int probe = 0; probe < 3; ++probe) {
        rig.add("", "p" + std::to_string(probe));
        rig.answer_all();
    }
    ASSERT_EQ(rig.machine->breakers()[0].state(), BreakerState::closed);
    rig.add("a", "a2");
    rig.add("b", "b1");
    EXPECT_EQ(rig.place("a2"), "buffer:redis");
    EXPECT_THAT(rig.under_way(), ElementsAre("b1")) << "other keys go on";
    rig.answer_all();
    rig.replay(*rig.redis);
    rig.replay(*rig.redis);
    rig.add("a", "a3");
    EXPECT_THAT(rig.under_way(), ElementsAre("a3")) << "the key's barrier is down";
}

TEST(LadderOrder, SeesTheBarrierOfAnotherProcess) {
    LadderRig other;
    LadderRig rig{LadderRig::rig_options(), 1, {other.redis}};
    other.add("a", "a1");
    other.lose_connection();
    EXPECT_EQ(other.place("a1"), "buffer:redis");
    rig.add("a", "a2");
    EXPECT_EQ(rig.place("a2"), "buffer:redis");
    EXPECT_THAT(LadderRig::bodies(rig.redis->messages()), ElementsAre("a1", "a2"));
}

TEST(LadderOrder, ReadsTheEpochAfterTheMessageWasTakenUp) {
    LadderRig other;
    LadderRig rig{LadderRig::rig_options(), 1, {other.redis}};
    rig.redis->hold_back(true);
    rig.add("a", "a1");  // its epoch was read before …
    rig.redis->hold_back(false);
    other.add("a", "x");
    other.lose_connection();
    rig.add("a", "a2");  // … this one was published, after x was accepted
    rig.redis->answer_all();
    rig.step();
    EXPECT_THAT(rig.under_way(), ElementsAre("a1")) << "only what was there when the epoch was asked for";
    rig.answer();
    EXPECT_EQ(rig.place("a2"), "buffer:redis");
}

TEST(LadderOrder, SharesOneEpochReadAmongAllThatWait) {
    LadderRig rig;
    rig.redis->hold_back(true);
    rig.add("a", "1");
    const auto before = rig.redis->epoch_reads();
    for (int i = 0; i < 50; ++i) rig.add("k" + std::to_string(i), "m" + std::to_string(i));
    EXPECT_EQ(rig.redis->epoch_reads(), before);
    rig.redis->hold_back(false);
    rig.redis->answer_all();
    rig.step();
    EXPECT_EQ(rig.redis->epoch_reads(), before + 1);
    EXPECT_EQ(rig.under_way().size(), 51u);
}

TEST(LadderOrder, AKeyOfTheJournalStaysThereThoughRedisIsBack) {
    LadderRig rig;
    rig.open_breaker();
    rig.redis->go_away();
    rig.add("a", "a1");
    rig.redis->come_back();
    rig.pass(200ms);
    ASSERT_EQ(rig.machine->rungs()[0].state(), LadderRung::State::up);
    rig.add("a", "a2");
    rig.add("b", "b1");
    EXPECT_EQ(rig.place("a2"), "buffer:journal");
    EXPECT_EQ(rig.place("b1"), "buffer:redis");
}

TEST(LadderOrder, GoesToTheJournalWhenRedisDiedWithMessages) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.lose_connection();
    ASSERT_EQ(rig.place("a1"), "buffer:redis");
    rig.redis->go_away();
    rig.pass(250ms);
    rig.pass(300ms);
    for (int probe = 0; probe < 3; ++probe) {
        rig.add("", "p" + std::to_string(probe));
        rig.answer_all();
    }
    ASSERT_EQ(rig.machine->breakers()[0].state(), BreakerState::closed);
    rig.add("a", "a2");
    EXPECT_EQ(rig.place("a2"), "buffer:journal") << "redis may hold a1: nothing of the key goes to the broker";
}

TEST(LadderOrder, PublishesDirectlyWhenRedisDiedEmpty) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.answer();
    rig.redis->go_away();
    rig.add("a", "a2");
    EXPECT_THAT(rig.under_way(), ElementsAre("a2"));
    LadderOptions strict = LadderRig::rig_options();
    strict.when_silent = LadderOptions::Silence::holds_every_key;
    LadderRig careful{strict};
    careful.redis->go_away();
    careful.add("a", "b1");
    EXPECT_EQ(careful.place("b1"), "buffer:journal");
}

TEST(LadderOrder, ARedisThatWasNeverAskedCountsAsHoldingEveryKey) {
    testing::FakeClock clock;
    const auto redis = std::make_shared<testing::MemoryBuffer>(clock);
    redis->go_away();
    LadderRig rig{LadderRig::rig_options(), 1, {redis}};
    rig.add("a", "a1");
    rig.add("", "x");
    EXPECT_EQ(rig.place("a1"), "buffer:journal");
    EXPECT_THAT(rig.under_way(), ElementsAre("x")) << "without a key there is no order to keep";
}

TEST(LadderOrder, OneBatchOfAKeyIsUnderWayAtATime) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.add("a", "a2");
    rig.add("a", "a3");
    EXPECT_THAT(rig.under_way(), ElementsAre("a1"));
    rig.answer();
    EXPECT_THAT(rig.under_way(), ElementsAre("a2", "a3"));
}

TEST(LadderOrder, TheRestOfABatchKeepsItsPlaceWhenItsFirstFails) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.add("a", "a2");
    rig.add("a", "a3");
    rig.answer();
    rig.lose_connection();
    EXPECT_THAT(LadderRig::bodies(rig.redis->messages()), ElementsAre("a2", "a3"));
    EXPECT_THAT(rig.ended, ElementsAre("a1", "a2", "a3"));
}

TEST(LadderOrder, AFullRedisSendsTheKeyToTheJournal) {
    LadderRig rig;
    rig.add("a", "a1");
    rig.lose_connection();
    rig.redis->refuse(Error{ErrorCode::out_of_space, Disposition::retry, "out of memory"});
    rig.add("a", "a2");
    rig.redis->refuse({});
    rig.pass(600ms);
    rig.add("a", "a3");
    EXPECT_EQ(rig.place("a2"), "buffer:journal");
    EXPECT_EQ(rig.place("a3"), "buffer:journal");
    EXPECT_THAT(LadderRig::bodies(rig.redis->messages()), ElementsAre("a1"));
}

TEST(LadderOrder, WhatFailedBarsItsKeyUntilTheCallerHeardOfIt) {
    LadderRig rig;
    Message first{.topic = "orders", .ordering_key = "a", .body = "a1"};
    Message other{.topic = "orders", .ordering_key = "b", .body = "b1"};
    rig.redis->hold_back(false);
    rig.add({first, other});
    ASSERT_EQ(rig.out.size(), 1u);
    const auto flight = rig.out.front();
    rig.out.clear();
    flight->outcomes[0] = {.status = PublishStatus::rejected, .error = {ErrorCode::too_large, Disposition::reject, "big"}};
    flight->outcomes[1] = {.status = PublishStatus::in_doubt, .error = gone()};
    rig.redis->hold_back(true);
    rig.machine->published(flight, rig.clock.steady_now());
    rig.step();
    EXPECT_EQ(rig.place("a1"), "rejected");
    EXPECT_EQ(rig.place("b1"), "open") << "so the caller does not know of a1 yet";
    rig.add("a", "a2");
    EXPECT_EQ(rig.place("a2"), "not sent");
    rig.redis->hold_back(false);
    rig.redis->answer_all();
    rig.step();
    EXPECT_EQ(rig.place("b1"), "buffer:redis");
    rig.add("a", "a3");
    EXPECT_EQ(rig.place("a3"), "buffer:redis");
}

}  // namespace
}  // namespace hufu::degradation
