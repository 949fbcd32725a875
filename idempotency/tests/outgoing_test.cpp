#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include <hufu/idempotency/outgoing.hpp>
#include <hufu/idempotency/once_batch.hpp>

#include "memory_guards.hpp"

namespace hufu::idempotency {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

const MessageId incoming = MessageId::parse("01890a5d-ac96-774b-bcce-b302099a8057").value();

TEST(DerivedId, IsTheSameForEverAndKeepsTheTime) {
    EXPECT_EQ(derived_id("stock", incoming, 0).to_string(), derived_id("stock", incoming, 0).to_string());
    EXPECT_EQ(derived_id("stock", incoming, 0).minted_at(), incoming.minted_at());
    EXPECT_EQ(derived_id("stock", incoming, 0).to_string()[14], '7');
    EXPECT_NE(std::string{"89ab"}.find(derived_id("stock", incoming, 0).to_string()[19]), std::string::npos);
}

TEST(DerivedId, DiffersByGroupIncomingIdAndPlace) {
    std::set<MessageId> ids;
    MessageId other{{1}};
    for (const auto* group : {"stock", "stock2", "payment", "1/stock"}) {
        for (const auto& id : {incoming, other}) {
            for (std::uint32_t place = 0; place < 50; ++place) ids.insert(derived_id(group, id, place));
        }
    }
    EXPECT_EQ(ids.size(), 4u * 2u * 50u);
}

TEST(Outgoing, MintsIdsByPlaceAndLeavesOwnOnes) {
    Message order{.id = incoming, .topic = "orders"};
    order.headers.set(header::trace_parent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    Outgoing outgoing{"stock", order};
    EXPECT_EQ(outgoing.add({.topic = "a"}), derived_id("stock", incoming, 0));
    EXPECT_EQ(outgoing.add({.id = MessageId{{7}}, .topic = "b"}), (MessageId{{7}}));
    EXPECT_EQ(outgoing.add({.topic = "c"}), derived_id("stock", incoming, 2));
    ASSERT_THAT(outgoing.messages(), SizeIs(3));
    EXPECT_EQ(outgoing.messages()[0].headers.get(header::trace_parent), order.headers.get(header::trace_parent));
}

class Batches : public testing::Test {
protected:
    Delivery made(std::uint8_t number, std::string key = {}) {
        return {.message = {.id = MessageId{{number}}, .topic = "orders", .ordering_key = std::move(key)}};
    }
    std::vector<Handled> run(std::vector<Delivery> deliveries) {
        std::vector<const Delivery*> pointers;
        for (const auto& delivery : deliveries) pointers.push_back(&delivery);
        MemoryTransaction transaction{disk};
        transaction.commit_error = commit_error;
        const auto effect = [&](const Message& message, MemoryTransaction& tx) -> EffectResult {
            order.push_back(message.id.bytes()[0]);
            if (message.id == bad) return {Handled::retry, {}, "no"};
            return tx.effect();
        };
        const BatchShell shell{
            transaction, transaction, [&](std::size_t place) { return effect(deliveries[place].message, transaction); },
            [&](const Delivery& delivery) -> HandlerResult {
                ++alone;
                MemoryTransaction own{disk};
                const auto outcome = run_once(OnceMachine{{"stock", delivery.message.id}, first_stored_at(delivery)}, own,
                                              own, [&] { return effect(delivery.message, own); });
                return {outcome.handled, outcome.reason};
            }};
        std::vector<Handled> answers;
        for (const auto& result : run_once_batch("stock", pointers, shell)) answers.push_back(result.handled);
        return answers;
    }

    MemoryDisk disk;
    MessageId bad;
    std::optional<Error> commit_error;
    std::vector<int> order;
    int alone = 0;
};

TEST_F(Batches, CommitOnceInTheOrderOfTheBatch) {
    EXPECT_THAT(run({made(3), made(1), made(2)}), ElementsAre(Handled::done, Handled::done, Handled::done));
    EXPECT_THAT(order, ElementsAre(3, 1, 2));
    EXPECT_EQ(alone, 0);
    EXPECT_EQ(disk.effects, 3);
    EXPECT_EQ((disk.guards.at({"stock", MessageId{{3}}})), "kept");
}

TEST_F(Batches, SettleDuplicatesAlone) {
    run({made(1), made(2)});
    EXPECT_THAT(run({made(2), made(3), made(3)}), ElementsAre(Handled::already_done, Handled::done, Handled::already_done));
    EXPECT_EQ(disk.effects, 3);
    EXPECT_EQ(alone, 2);
}

TEST_F(Batches, FallBackToOneByOneAndStopAKeyAtItsFailure) {
    bad = MessageId{{2}};
    EXPECT_THAT(run({made(1, "a"), made(2, "b"), made(3, "b"), made(4, "c")}),
                ElementsAre(Handled::done, Handled::retry, Handled::retry, Handled::done));
    EXPECT_EQ(disk.effects, 2);
    EXPECT_EQ(alone, 3);
}

TEST_F(Batches, FindOutWhatALostCommitCameTo) {
    commit_error = Error{ErrorCode::unavailable, Disposition::in_doubt, "lost"};
    EXPECT_THAT(run({made(1), made(2)}), ElementsAre(Handled::done, Handled::done));
    EXPECT_EQ(disk.effects, 2);
}

TEST_F(Batches, OfOneAreNoBatch) {
    EXPECT_THAT(run({made(1)}), ElementsAre(Handled::done));
    EXPECT_EQ(alone, 1);
}

}  // namespace
}  // namespace hufu::idempotency
