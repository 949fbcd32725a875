#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/degradation/replay_machine.hpp>

namespace hufu::degradation {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

Entry entry_of(int number, const std::string& key = {}, const std::string& topic = "orders") {
    return {.id = {0, std::to_string(number)},
            .message = {.topic = topic, .ordering_key = key, .body = std::to_string(number)},
            .spilled_at = SystemTime{std::chrono::seconds{number}}};
}

class ReplayMachineTest : public ::testing::Test {
protected:
    void begin(const ReplayOptions& options = {}) { machine = std::make_unique<ReplayMachine>(options, random); }

    std::vector<std::string> step() {
        actions = machine->step(now);
        std::vector<std::string> bodies;
        for (auto& batch : actions.publish) {
            for (const auto& message : batch->messages) bodies.push_back(message.body);
            out.push_back(std::move(batch));
        }
        return bodies;
    }
    /// Ends the oldest batch under way; messages that are not named are confirmed.
    void answer(const std::map<std::string, PublishStatus>& outcomes = {}) {
        auto batch = std::move(out.front());
        out.erase(out.begin());
        for (std::size_t i = 0; i < batch->messages.size(); ++i) {
            const auto named = outcomes.find(batch->messages[i].body);
            batch->outcomes[i] = {named == outcomes.end() ? PublishStatus::confirmed : named->second,
                                  {ErrorCode::unavailable, Disposition::retry, "said " + batch->messages[i].body}};
        }
        machine->published(std::move(batch), now);
    }
    std::vector<std::string> trims() {
        std::vector<std::string> positions;
        for (const auto& id : actions.trim) positions.push_back(id.position);
        return positions;
    }

    std::vector<std::string> parks() {
        std::vector<std::string> positions;
        for (const auto& park : actions.park) {
            for (const auto& id : park.entries) positions.push_back(id.position);
        }
        return positions;
    }

    SeededRandom random{1};
    SteadyTime now{std::chrono::hours{1}};
    std::unique_ptr<ReplayMachine> machine;
    ReplayActions actions;
    std::vector<std::unique_ptr<ReplayBatch>> out;
};

TEST_F(ReplayMachineTest, TrimsAfterTheConfirmationAndNotBefore) {
    begin();
    machine->deliver({entry_of(1, "a"), entry_of(2)});
    EXPECT_THAT(step(), ElementsAre("1", "2"));
    EXPECT_THAT(trims(), ElementsAre());
    answer({{"2", PublishStatus::in_doubt}});
    step();
    EXPECT_THAT(trims(), ElementsAre("1"));
}

TEST_F(ReplayMachineTest, TellsGuardsHowOldAMessageIs) {
    begin();
    Entry older = entry_of(8);
    older.message.headers.set(header::first_stored_at, "4000000");
    machine->deliver({entry_of(7), older});
    step();
    EXPECT_EQ(out[0]->messages[0].headers.get(header::first_stored_at), "7000000");
    EXPECT_EQ(out[0]->messages[1].headers.get(header::first_stored_at), "4000000") << "it was buffered before";
}

TEST_F(ReplayMachineTest, OneBatchOfAKeyIsUnderWayAtATime) {
    begin({.batch_messages = 2});
    machine->deliver({entry_of(1, "a"), entry_of(2, "b"), entry_of(3, "a"), entry_of(4, "c")});
    EXPECT_THAT(step(), ElementsAre("1", "2", "4")) << "3 waits for 1; 4 is in the second batch";
    answer();
    EXPECT_THAT(step(), ElementsAre("3"));
}

TEST_F(ReplayMachineTest, AFailedMessageHoldsItsKeyOnly) {
    begin();
    machine->deliver({entry_of(1, "a"), entry_of(2, "a"), entry_of(3, "b")});
    EXPECT_THAT(step(), ElementsAre("1", "2", "3"));
    answer({{"1", PublishStatus::in_doubt}, {"2", PublishStatus::not_sent}});
    machine->deliver({entry_of(4, "a"), entry_of(5, "b")});
    EXPECT_THAT(step(), ElementsAre("5"));
    answer();
    ASSERT_TRUE(actions.tick_at);
    now += milliseconds{200};
    EXPECT_THAT(step(), ElementsAre("1", "2", "4"));
    EXPECT_EQ(machine->figures().retried, 2U);
}

TEST_F(ReplayMachineTest, ProbesWithOneBatchWhileNothingIsConfirmed) {
    begin({.batch_messages = 1, .held_max = 100});
    machine->deliver({entry_of(1), entry_of(2), entry_of(3)});
    EXPECT_EQ(step().size(), 3U);
    for (const auto* body : {"1", "2", "3"}) answer({{body, PublishStatus::not_sent}});
    EXPECT_TRUE(machine->target_away());
    EXPECT_TRUE(step().empty());
    now = actions.tick_at.value();
    EXPECT_EQ(step().size(), 1U) << "a probe";
    answer();
    EXPECT_EQ(step().size(), 2U);
}

TEST_F(ReplayMachineTest, ParksWhatIsRejectedWithItsSuccessors) {
    begin({.record_outcomes = true});
    machine->deliver({entry_of(1, "a"), entry_of(2, "a"), entry_of(3, "b")});
    step();
    answer({{"1", PublishStatus::rejected}, {"2", PublishStatus::not_sent}});
    machine->deliver({entry_of(4, "a"), entry_of(5, "b")});
    EXPECT_THAT(step(), ElementsAre("5"));
    ASSERT_EQ(actions.park.size(), 2U);
    EXPECT_EQ(actions.park[0].reason, "said 1");
    EXPECT_THAT(actions.park[1].reason, ::testing::HasSubstr("which the broker rejected"));
    EXPECT_EQ(actions.park[1].entries.size(), 2U) << "2 and 4";
    EXPECT_EQ(actions.records.size(), 4U);
    answer();
    step();
    const auto figures = machine->figures();
    EXPECT_EQ(figures.parked, 3U);
    EXPECT_EQ(figures.confirmed, 2U);
    EXPECT_TRUE(figures.adds_up());
}

TEST_F(ReplayMachineTest, SetsAsideInOrderAndAtOnceWhatItHoldsOfARejectedKey) {
    begin({.batch_messages = 2, .batches_max = 2});
    machine->deliver({entry_of(1, "a"), entry_of(2, "a"), entry_of(3, "b"), entry_of(4, "a"), entry_of(5, "c"),
                      entry_of(6, "d"), entry_of(7, "e"), entry_of(8, "a")});
    EXPECT_THAT(step(), ElementsAre("1", "2", "3", "5"));
    answer({{"1", PublishStatus::rejected}, {"2", PublishStatus::not_sent}});
    EXPECT_THAT(step(), ElementsAre("6", "7"));
    EXPECT_THAT(parks(), ElementsAre("1", "2", "4", "8"))
        << "8 was far behind; what the buffer reads next is parked at once";
    machine->deliver({entry_of(9, "f"), entry_of(10, "a")});
    EXPECT_THAT(step(), ElementsAre()) << "two batches are under way";
    EXPECT_THAT(parks(), ElementsAre("10"));
}

TEST_F(ReplayMachineTest, WantsNothingMoreWhileSomethingIsToBeSetAside) {
    begin();
    machine->deliver({entry_of(1, "a"), entry_of(2, "a")});
    step();
    answer({{"1", PublishStatus::rejected}, {"2", PublishStatus::not_sent}});
    EXPECT_EQ(machine->room(), 0U);
    step();
    EXPECT_GT(machine->room(), 0U);
    machine->not_parked(std::move(actions.park), now);
    EXPECT_EQ(machine->room(), 0U) << "the buffer would park 3 before 1 and 2";
    step();
    EXPECT_THAT(parks(), ElementsAre());
    now = actions.tick_at.value();
    step();
    EXPECT_THAT(parks(), ElementsAre("1", "2"));
}

TEST_F(ReplayMachineTest, NothingOvertakesWhatWasParkedEarlier) {
    begin();
    machine->bar(entry_of(0, "a").message);
    machine->deliver({entry_of(1, "a"), entry_of(2, "b")});
    EXPECT_THAT(step(), ElementsAre("2"));
    EXPECT_EQ(machine->figures().parked, 1U);
}

TEST_F(ReplayMachineTest, TheFilterLeavesEntriesAndWhatStandsBehindThem) {
    begin({.filter = {.topics = {"orders"}, .since = SystemTime{std::chrono::seconds{3}}}});
    machine->deliver({entry_of(1, "a"), entry_of(2, "b", "stock"), entry_of(4, "a"), entry_of(5, "c"), entry_of(6)});
    EXPECT_THAT(step(), ElementsAre("5", "6"));
    answer();
    step();
    EXPECT_THAT(trims(), ElementsAre("5", "6"));
    const auto figures = machine->figures();
    EXPECT_EQ(figures.filtered, 2U);
    EXPECT_EQ(figures.behind, 1U) << "4 stands behind 1";
    EXPECT_TRUE(figures.adds_up());
}

TEST_F(ReplayMachineTest, KeepsTheRateAndWarmsUp) {
    begin({.per_second = 1'000, .warm_up = milliseconds{1'000}});
    std::vector<Entry> entries;
    for (int i = 0; i < 2'000; ++i) entries.push_back(entry_of(i));
    machine->deliver(std::move(entries));
    std::size_t first = 0;
    std::size_t second = 0;
    for (int ms = 0; ms < 2'000; ++ms, now += milliseconds{1}) {
        (ms < 1'000 ? first : second) += step().size();
        while (!out.empty()) answer();
    }
    EXPECT_NEAR(static_cast<double>(first), 550, 30) << "from a tenth to all of it";
    EXPECT_NEAR(static_cast<double>(second), 1'000, 30);
}

TEST_F(ReplayMachineTest, ARateIsKeptInSmallBatchesAlsoWhenItIsLate) {
    begin({.per_second = 100'000});
    std::vector<Entry> entries;
    for (int i = 0; i < 20'000; ++i) entries.push_back(entry_of(i));
    machine->deliver(std::move(entries));
    std::size_t sent = 0;
    for (int us = 0; us < 100'000; us += 500, now += std::chrono::microseconds{us == 50'000 ? 10'500 : 500}) {
        const auto batch = step();
        EXPECT_LE(batch.size(), 200U) << "two milliseconds' worth";
        EXPECT_LE(actions.publish.size(), 1U);
        sent += batch.size();
        while (!out.empty()) answer();
    }
    EXPECT_NEAR(static_cast<double>(sent), 11'000, 300) << "what ten milliseconds missed is made up for";
}

TEST_F(ReplayMachineTest, OneTrimIsUnderWayAtATime) {
    begin({.batch_messages = 1, .batches_max = 1});
    machine->deliver({entry_of(1), entry_of(2), entry_of(3)});
    step();
    answer();
    now += milliseconds{60};
    EXPECT_THAT(step(), ElementsAre("2"));
    EXPECT_THAT(trims(), ElementsAre("1"));
    answer();
    EXPECT_THAT(step(), ElementsAre("3"));
    answer();
    step();
    EXPECT_THAT(trims(), ElementsAre()) << "nobody has said yet what became of 1";
    machine->trimmed(1, 1);
    step();
    EXPECT_THAT(trims(), ElementsAre("2", "3"));
}

TEST_F(ReplayMachineTest, GivesBackWhatItHoldsWhenItStops) {
    begin({.batch_messages = 1, .batches_max = 1});
    machine->deliver({entry_of(1), entry_of(2), entry_of(3)});
    step();
    machine->stop();
    EXPECT_TRUE(step().empty());
    answer();
    step();
    EXPECT_THAT(trims(), ElementsAre("1"));
    machine->trimmed(1, 1);
    EXPECT_TRUE(machine->idle());
    EXPECT_EQ(machine->figures().given_back, 2U);
    EXPECT_TRUE(machine->figures().adds_up());
}

TEST_F(ReplayMachineTest, WhatComesBackUnconfirmedAfterTheStopIsGivenBack) {
    begin();
    machine->deliver({entry_of(1, "a"), entry_of(2)});
    step();
    machine->stop();
    answer({{"1", PublishStatus::in_doubt}, {"2", PublishStatus::not_sent}});
    EXPECT_TRUE(step().empty());
    EXPECT_TRUE(machine->idle());
    EXPECT_EQ(machine->figures().given_back, 2U);
    EXPECT_TRUE(machine->figures().adds_up());
}

TEST_F(ReplayMachineTest, ATrimThatFailedIsAskedForAgain) {
    begin();
    machine->deliver({entry_of(1)});
    step();
    answer();
    step();
    machine->not_trimmed(std::move(actions.trim), now);
    step();
    EXPECT_TRUE(actions.trim.empty());
    now = actions.tick_at.value();
    step();
    EXPECT_THAT(trims(), ElementsAre("1"));
    machine->trimmed(1, 0);
    EXPECT_EQ(machine->figures().taken_over, 1U);
}

TEST(ReplayOptionsTest, RefusesWhatMakesNoSense) {
    EXPECT_TRUE(validate(ReplayOptions{}));
    EXPECT_FALSE(validate(ReplayOptions{.warm_up = milliseconds{5}}));
    EXPECT_FALSE(validate(ReplayOptions{.batch_messages = 0}));
    const SystemTime time{std::chrono::seconds{5}};
    const auto refused = validate(ReplayOptions{.filter = {.since = time, .until = time}});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().text(), ::testing::HasSubstr("since must be before until"));
}

}  // namespace
}  // namespace hufu::degradation
