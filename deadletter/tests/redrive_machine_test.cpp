#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/deadletter/redrive_machine.hpp>

#include "shelf.hpp"

namespace hufu::deadletter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using What = LetterOutcome::What;

constexpr PublishStatus confirmed = PublishStatus::confirmed;

std::vector<ReadMessage> page(std::vector<Message> messages) {
    std::vector<ReadMessage> page;
    std::int64_t offset = 0;
    for (auto& message : messages) {
        page.push_back({.place = {"0", offset++},
                        .message = std::move(message),
                        .stored_at = SystemTime{std::chrono::seconds{offset}}});
    }
    return page;
}

Message back(Message message, const std::string& times) {
    message.headers.set(redrives_header, times);
    return message;
}

std::vector<std::string> bodies(const RedriveMachine::Work& work) {
    std::vector<std::string> bodies;
    for (const auto& message : work.messages) bodies.push_back(message.body);
    return bodies;
}

std::vector<What> whats(RedriveMachine& machine) {
    std::vector<What> whats;
    for (const auto& outcome : machine.take_outcomes()) whats.push_back(outcome.what);
    return whats;
}

class RedriveMachineTest : public ::testing::Test {
protected:
    RedriveMachine machine(RedriveOptions options = {}) { return {std::move(options), "%DLQ%stock", ledger_}; }
    Ledger ledger_;
};

TEST(DeadLetter, IsReadFromWhatItsMakerWrote) {
    auto letter = letter_of({.place = {"0", 4}, .message = dead("a", "k")});
    EXPECT_EQ(letter.origin_topic, "orders");
    EXPECT_EQ(letter.reason, "out of stock");
    EXPECT_EQ(letter.attempts, 16U);
    EXPECT_EQ(letter.redrives, 0U);
    // RocketMQ's own broker notes no reason, but the origin and a count.
    letter = letter_of({.message = {.topic = "%DLQ%stock", .body = "b"}, .broker_attempts = 17, .origin_topic = "orders"});
    EXPECT_EQ(letter.origin_topic, "orders");
    EXPECT_EQ(letter.attempts, 17U);
    EXPECT_THAT(letter.reason, HasSubstr("delivered 17 times"));
    EXPECT_THAT(letter_of({.message = {.topic = "t"}}).reason, HasSubstr("no reason"));
}

TEST(DeadLetter, IsRedrivenUnderItsIdAndCounted) {
    const Message original = dead("a", "k");
    const Message again = redriven(letter_of({.message = back(original, "2")}), {});
    EXPECT_EQ(again.id, original.id);
    EXPECT_EQ(again.topic, "orders");
    EXPECT_EQ(again.ordering_key, "k");
    EXPECT_EQ(again.headers.get(redrives_header), "3");
    EXPECT_EQ(again.headers.get("tenant"), "7");
    EXPECT_FALSE(again.headers.get(header::dead_reason) || again.headers.get(header::dead_topic) ||
                 again.headers.get(header::attempts));
    EXPECT_EQ(redriven(letter_of({.message = original}), "elsewhere").topic, "elsewhere");
}

TEST(Redriven, TellsGuardsHowOldTheMessageIs) {
    const DeadLetter letter = letter_of({.message = dead("a", "k"), .stored_at = SystemTime{std::chrono::seconds{100}}});
    EXPECT_EQ(redriven(letter, "").headers.get(header::first_stored_at), "100000000");
}

TEST(DeadLetterFilter, EveryFieldMustFit) {
    Message message = dead("a", "k", "card declined by the bank");
    message.keys = {"order-1", "order-2"};
    DeadLetter letter = letter_of({.message = message, .stored_at = SystemTime{std::chrono::seconds{100}}});
    EXPECT_TRUE(Filter{}.fits(letter));
    EXPECT_TRUE((Filter{.reason_part = "declined", .key = "k", .origin_topic = "orders"}.fits(letter)));
    EXPECT_TRUE(Filter{.key = "order-2"}.fits(letter));
    EXPECT_FALSE(Filter{.key = "order"}.fits(letter));
    EXPECT_FALSE(Filter{.reason_part = "Declined"}.fits(letter));
    EXPECT_FALSE(Filter{.origin_topic = "order"}.fits(letter));
    EXPECT_TRUE(Filter{.id = message.id.to_string()}.fits(letter));
    EXPECT_FALSE(Filter{.id = MessageId{}.to_string()}.fits(letter));
    EXPECT_TRUE((Filter{.dead_since = letter.dead_at, .dead_until = letter.dead_at + std::chrono::seconds{1}}.fits(letter)));
    EXPECT_FALSE(Filter{.dead_until = letter.dead_at}.fits(letter));
}

TEST_F(RedriveMachineTest, PlansWhatIsOpenInItsOrder) {
    const Message settled = dead("settled");
    AuditRecord record{.kind = AuditRecord::Kind::settled, .job = "j", .topic = "%DLQ%stock", .queue = "0"};
    record.letters = {{1, settled.id}};
    ledger_.apply(record, {});
    auto machine = this->machine();
    auto work = machine.plan(page({dead("a", "k"), settled, dead("b", "k"), dead("c")}));
    EXPECT_THAT(bodies(work), ElementsAre("a", "b", "c"));
    const std::vector<PublishOutcome> fine(3, {.status = confirmed});
    EXPECT_THAT(machine.published(std::move(work), fine).letters, IsEmpty());
    EXPECT_THAT(whats(machine), ElementsAre(What::redriven, What::redriven, What::redriven));
    EXPECT_EQ(machine.take_settled().size(), 3U);
    EXPECT_EQ(machine.figures().settled_before, 1U);
    EXPECT_EQ(machine.figures().settled, 3U);
}

TEST_F(RedriveMachineTest, RefusesWhatCameBackTooOftenAndHoldsItsSuccessors) {
    auto machine = this->machine();
    const auto work = machine.plan(page({back(dead("a", "k"), "3"), dead("b", "k"), back(dead("c", "other"), "2")}));
    EXPECT_THAT(bodies(work), ElementsAre("c"));
    const auto outcomes = machine.take_outcomes();
    ASSERT_EQ(outcomes.size(), 2U);
    EXPECT_EQ(outcomes[0].what, What::refused);
    EXPECT_THAT(outcomes[0].why, ::testing::AllOf(HasSubstr("3 times"), HasSubstr("out of stock"), HasSubstr("--force")));
    EXPECT_EQ(outcomes[1].what, What::held);
    auto forced = this->machine({.force = true});
    EXPECT_THAT(bodies(forced.plan(page({back(dead("a", "k"), "3"), dead("b", "k")}))), ElementsAre("a", "b"));
    auto stricter = this->machine({.redrives_max = 0});
    EXPECT_THAT(bodies(stricter.plan(page({dead("a")}))), IsEmpty());
}

TEST_F(RedriveMachineTest, AFilterDoesNotLetALaterLetterOvertakeAnEarlierOne) {
    auto machine = this->machine({.filter = {.reason_part = "time"}});
    const std::vector<Message> letters{dead("a", "k", "declined"), dead("b", "k", "timed out"), dead("c", "l", "timed out"),
                                       dead("d", "", "declined"), dead("e", "", "timed out")};
    EXPECT_THAT(bodies(machine.plan(page(letters))), ElementsAre("c", "e"));
    EXPECT_THAT(whats(machine), ElementsAre(What::held));
    auto careless = this->machine({.filter = {.reason_part = "time"}, .out_of_order = true});
    EXPECT_THAT(bodies(careless.plan(page(letters))), ElementsAre("b", "c", "e"));
}

TEST_F(RedriveMachineTest, WhatTheBrokerRejectsStaysWithItsSuccessors) {
    auto machine = this->machine();
    auto work = machine.plan(page({dead("a", "k"), dead("b", "k"), dead("c", "l"), dead("d", "l")}));
    const Error too_large{ErrorCode::too_large, Disposition::reject, "too large"};
    auto again = machine.published(std::move(work),
                                   std::vector<PublishOutcome>{{.status = PublishStatus::rejected, .error = too_large},
                                                               {.status = PublishStatus::not_sent},
                                                               {.status = PublishStatus::in_doubt},
                                                               {.status = PublishStatus::not_sent}});
    EXPECT_THAT(bodies(again), ElementsAre("c", "d"));
    const auto outcomes = machine.take_outcomes();
    ASSERT_EQ(outcomes.size(), 2U);
    EXPECT_EQ(outcomes[0].what, What::rejected);
    EXPECT_EQ(outcomes[0].why, "too large");
    EXPECT_EQ(outcomes[1].what, What::held);
    machine.give_up(std::move(again), "the broker is away");
    EXPECT_THAT(whats(machine), ElementsAre(What::failed, What::failed));
    EXPECT_THAT(machine.take_settled(), IsEmpty());
    EXPECT_EQ(machine.figures().stayed(), 4U);
}

TEST_F(RedriveMachineTest, ADryRunTellsAndSettlesNothing) {
    auto machine = this->machine({.dry_run = true});
    EXPECT_THAT(machine.plan(page({dead("a"), back(dead("b"), "9")})).letters, IsEmpty());
    EXPECT_THAT(whats(machine), ElementsAre(What::refused, What::would_redrive));
    EXPECT_THAT(machine.take_settled(), IsEmpty());
    EXPECT_EQ(machine.figures().settled, 1U);
}

TEST_F(RedriveMachineTest, DiscardsWithoutLookingAtOrderOrCount) {
    auto machine = this->machine({.act = Act::discard, .filter = {.reason_part = "time"}});
    auto work = machine.plan(page({dead("a", "k", "declined"), back(dead("b", "k", "timed out"), "9")}));
    EXPECT_THAT(work.messages, IsEmpty());
    ASSERT_EQ(work.letters.size(), 1U);
    machine.discarded(std::move(work));
    EXPECT_THAT(whats(machine), ElementsAre(What::discarded));
    EXPECT_EQ(machine.take_settled().size(), 1U);
}

TEST_F(RedriveMachineTest, KeepsItsLimit) {
    auto machine = this->machine({.limit = 2});
    EXPECT_THAT(bodies(machine.plan(page({dead("a"), dead("b"), dead("c")}))), ElementsAre("a", "b"));
    EXPECT_TRUE(machine.full());
}

TEST_F(RedriveMachineTest, ALetterFromNowhereNeedsATopic) {
    Message stray{.topic = "%DLQ%stock", .body = "x"};
    auto machine = this->machine();
    EXPECT_THAT(bodies(machine.plan(page({stray}))), IsEmpty());
    const auto outcomes = machine.take_outcomes();
    ASSERT_EQ(outcomes.size(), 1U);
    EXPECT_EQ(outcomes[0].what, What::refused);
    EXPECT_THAT(outcomes[0].why, HasSubstr("--to-topic"));
    auto told = this->machine({.to_topic = "orders"});
    EXPECT_THAT(bodies(told.plan(page({stray}))), ElementsAre("x"));
}

}  // namespace
}  // namespace hufu::deadletter
