// What consumers keep in a store: what an effect sends, batches, parked keys, attempt rows.
#include <gmock/gmock.h>

#include <sys/wait.h>
#include <unistd.h>

#include "suites.hpp"

namespace hufu::conformance {
namespace {

using idempotency::EffectResult;
using idempotency::Outgoing;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

MessageId numbered(std::uint8_t number) { return MessageId{{1, 2, 3, 4, 5, 6, 0x70, number}}; }

Delivery delivery(std::uint8_t number, SystemTime now, std::string key = {}) {
    return {.message = {.id = numbered(number), .topic = "orders", .ordering_key = std::move(key), .body = "order"},
            .stored_at = now};
}

/// Tells of an order in two messages.
EffectResult tell(const Message& order, Outgoing& outgoing) {
    outgoing.add({.topic = "payments", .ordering_key = "k", .body = order.body + ": pay"});
    outgoing.add({.topic = "stock", .ordering_key = "k", .body = order.body + ": hold"});
    return Handled::done;
}

std::vector<MessageId> sent_ids(const std::vector<outbox::Row>& rows) {
    std::vector<MessageId> ids;
    for (const auto& row : rows) ids.push_back(row.message.id);
    return ids;
}

/// Runs `body` in a process that ends without a word.
void in_a_process_that_dies(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        ::_exit(9);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 9);
}

TEST_P(ConsumeProcessProduce, SendsWithItsEffectUnderTheSameIds) {
    const auto order = delivery(1, under_test_->now());
    const auto handler = under_test_->processor("stock", tell);
    EXPECT_EQ(handler(order).handled, Handled::done);
    EXPECT_EQ(handler(order).handled, Handled::already_done);
    EXPECT_EQ(under_test_->effects(), 1);
    const auto sent = under_test_->store().reader()->read({.limit = 10}).value().rows;
    EXPECT_THAT(sent_ids(sent), ElementsAre(idempotency::derived_id("stock", order.message.id, 0),
                                            idempotency::derived_id("stock", order.message.id, 1)));
    EXPECT_EQ(sent[1].message.body, "order: hold");
}

TEST_P(ConsumeProcessProduce, SendsNothingWhereTheEffectFails) {
    const auto now = under_test_->now();
    const auto answer = [&](std::uint8_t number, Handled handled) {
        return under_test_->processor("stock", [handled](const Message& order, Outgoing& outgoing) {
            tell(order, outgoing);
            if (handled == Handled::already_done) throw std::runtime_error{"boom"};
            return EffectResult{handled, {}, "no"};
        })(delivery(number, now));
    };
    EXPECT_EQ(answer(1, Handled::retry).handled, Handled::retry);
    EXPECT_EQ(answer(2, Handled::reject).handled, Handled::reject);
    EXPECT_THROW(answer(3, Handled::already_done), std::runtime_error);
    EXPECT_EQ(under_test_->effects(), 0);
    EXPECT_THAT(under_test_->store().reader()->read({.limit = 10}).value().rows, IsEmpty());
}

TEST_P(ConsumeProcessProduce, AMessageThatCannotBeSentTakesTheEffectBack) {
    const auto handler = under_test_->processor("stock", [](const Message&, Outgoing& outgoing) {
        outgoing.add({.topic = "no topic", .body = "x"});
        return Handled::done;
    });
    EXPECT_THROW(handler(delivery(1, under_test_->now())), Exception);
    EXPECT_EQ(under_test_->effects(), 0);
}

TEST_P(ConsumeProcessProduce, HasOneEffectAndOneSetOfMessagesThroughCrashes) {
    const auto order = delivery(1, under_test_->now());
    const auto run_and_die = [&](bool before_commit) {
        in_a_process_that_dies([&] {
            const auto handler = under_test_->processor("stock", [&](const Message& incoming, Outgoing& outgoing) {
                auto result = tell(incoming, outgoing);
                if (before_commit) ::_exit(9);
                return result;
            });
            static_cast<void>(handler(order));
        });
    };
    run_and_die(true);
    EXPECT_EQ(under_test_->effects(), 0);
    run_and_die(false);  // committed, but never acknowledged
    EXPECT_EQ(under_test_->effects(), 1);
    run_and_die(true);  // and delivered again, to one that would die in the effect
    EXPECT_EQ(under_test_->processor("stock", tell)(order).handled, Handled::already_done);
    EXPECT_EQ(under_test_->effects(), 1);
    EXPECT_THAT(under_test_->store().reader()->read({.limit = 10}).value().rows, SizeIs(2));
}

class Batch {
public:
    explicit Batch(std::vector<Delivery> deliveries) : deliveries_{std::move(deliveries)} {
        for (const auto& delivery : deliveries_) pointers_.push_back(&delivery);
    }
    std::vector<Handled> handle(const BatchHandler& handler) {
        std::vector<Handled> answers;
        for (const auto& result : handler(pointers_)) answers.push_back(result.handled);
        return answers;
    }

private:
    std::vector<Delivery> deliveries_;
    std::vector<const Delivery*> pointers_;
};

TEST_P(GuardedBatches, HaveOneEffectForEachMessage) {
    const auto now = under_test_->now();
    const auto handler = under_test_->batch_handler("stock", [](const Message&) { return Handled::done; });
    Batch batch{{delivery(3, now), delivery(1, now), delivery(2, now)}};
    EXPECT_THAT(batch.handle(handler), ElementsAre(Handled::done, Handled::done, Handled::done));
    EXPECT_THAT(batch.handle(handler), ElementsAre(Handled::already_done, Handled::already_done, Handled::already_done));
    Batch mixed{{delivery(3, now), delivery(4, now), delivery(4, now)}};
    EXPECT_THAT(mixed.handle(handler), ElementsAre(Handled::already_done, Handled::done, Handled::already_done));
    EXPECT_EQ(under_test_->effects(), 4);
}

TEST_P(GuardedBatches, AFailureTakesNoOtherMessageWithIt) {
    const auto now = under_test_->now();
    const auto handler = under_test_->batch_handler("stock", [](const Message& message) -> EffectResult {
        if (message.id == numbered(2)) throw std::runtime_error{"boom"};
        if (message.id == numbered(4)) return {Handled::reject, {}, "never"};
        return Handled::done;
    });
    Batch batch{
        {delivery(1, now, "a"), delivery(2, now, "b"), delivery(3, now, "b"), delivery(4, now, "c"), delivery(5, now, "d")}};
    EXPECT_THAT(batch.handle(handler),
                ElementsAre(Handled::done, Handled::retry, Handled::retry, Handled::reject, Handled::done));
    EXPECT_EQ(under_test_->effects(), 2) << "the third is behind a failure of its key";
}

TEST_P(GuardedBatches, WhatIsOlderThanTheHorizonIsRejectedAlone) {
    const auto now = under_test_->now();
    const auto handler = under_test_->batch_handler("stock", [](const Message&) { return Handled::done; });
    under_test_->purge_old_guards("stock");
    Batch batch{{delivery(1, now - std::chrono::hours{3}), delivery(2, now)}};
    EXPECT_THAT(batch.handle(handler), ElementsAre(Handled::reject, Handled::done));
    EXPECT_EQ(under_test_->effects(), 1);
}

TEST_P(ConsumerMemory, KeepsParkedKeysUntilTheyAreReopened) {
    const auto keys = under_test_->parked_keys("stock");
    const ParkedKey a{{"orders", "a"}, numbered(1), "no stock"};
    const ParkedKey b{{"orders", "it's \"b\""}, numbered(2), "bad"};
    ASSERT_TRUE(keys->park(a));
    ASSERT_TRUE(keys->park(b));
    ASSERT_TRUE(keys->park({{"orders", "a"}, numbered(9), "another reason"})) << "stays as it is";
    EXPECT_THAT(under_test_->parked_keys("stock")->load().value(), UnorderedElementsAre(a, b));
    EXPECT_THAT(under_test_->parked_keys("payment")->load().value(), IsEmpty());
    EXPECT_TRUE(keys->reopen(a.key).value());
    EXPECT_FALSE(keys->reopen(a.key).value());
    EXPECT_THAT(keys->load().value(), ElementsAre(b));
}

TEST_P(ConsumerMemory, ReopensAKeyWithAnAudit) {
    const ParkedKey a{{"orders", "it's a"}, numbered(1), "no stock"};
    ASSERT_TRUE(under_test_->parked_keys("stock")->park(a));
    ASSERT_TRUE(under_test_->parked_keys("payment")->park(a));
    ASSERT_TRUE(under_test_->reopen_parked_key("stock", a.key, {"eva", "corrected"}));
    EXPECT_THAT(under_test_->parked_keys("stock")->load().value(), IsEmpty());
    EXPECT_THAT(under_test_->parked_keys("payment")->load().value(), ElementsAre(a)) << "another group's";
    EXPECT_EQ(under_test_->reopen_parked_key("stock", a.key, {"eva", "again"}).error().code(), ErrorCode::not_found);
    const auto audit = under_test_->store().parking_lot()->audit(10).value();
    ASSERT_EQ(audit.size(), 1u) << "what was not parked is not noted";
    EXPECT_EQ(audit[0].action, "reopen stock");
    EXPECT_EQ(audit[0].selection.key.topic, "orders");
    EXPECT_EQ(audit[0].selection.key.ordering_key, "it's a");
    EXPECT_EQ(audit[0].selection.seq, std::nullopt);
    EXPECT_EQ(audit[0].note.who, "eva");
    EXPECT_EQ(audit[0].note.why, "corrected");
}

TEST_P(ConsumerMemory, PurgesOldAttemptRowsOfOneGroup) {
    const std::vector<MessageId> one{numbered(1)};
    for (const char* group : {"stock", "payment"}) ASSERT_TRUE(under_test_->attempt_rows(group)->look(one));
    EXPECT_EQ(under_test_->purge_attempt_rows("stock", std::chrono::hours{1}).value(), 0u);
    EXPECT_EQ(under_test_->purge_attempt_rows("stock", std::chrono::seconds{-60}).value(), 1u);
    EXPECT_THAT(under_test_->attempt_rows("stock")->look(one).value(), ElementsAre(0));
    EXPECT_THAT(under_test_->attempt_rows("payment")->look(one).value(), ElementsAre(1));
}

TEST_P(ConsumerMemory, CountsStartsThatNeverAnswered) {
    const auto rows = under_test_->attempt_rows("stock");
    const std::vector<MessageId> both{numbered(2), numbered(1)};
    EXPECT_THAT(rows->look(both).value(), ElementsAre(0, 0));
    ASSERT_TRUE(rows->starts_again(numbered(1)));
    const std::vector<MessageId> three{numbered(1), numbered(2), numbered(3)};
    EXPECT_THAT(under_test_->attempt_rows("stock")->look(three).value(), ElementsAre(2, 1, 0));
    EXPECT_THAT(under_test_->attempt_rows("payment")->look(both).value(), ElementsAre(0, 0));
    ASSERT_TRUE(rows->over(both));
    EXPECT_THAT(rows->look(three).value(), ElementsAre(0, 0, 1));
    EXPECT_THAT(rows->look({}).value(), IsEmpty());
    EXPECT_TRUE(rows->over({}));
}

}  // namespace
}  // namespace hufu::conformance
