#include "position_book.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/mutant.hpp>

namespace hufu::kafka {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Positions : public testing::Test {
protected:
    DeliveryTag receive(std::int64_t offset, std::int32_t partition = 0) {
        const auto tags = book.received("t", partition, offset, 10);
        EXPECT_EQ(tags.size(), 1U) << offset;
        return tags.empty() ? DeliveryTag{} : tags[0];
    }
    void acknowledge(const DeliveryTag& tag) { book.acknowledge({&tag, 1}); }
    static Place at(std::int64_t offset, std::int32_t partition = 0) { return {"t", partition, offset}; }

    PositionBook book{4, 1'000};
};

TEST_F(Positions, MoveOverTheLongestAcknowledgedRun) {
    book.assigned("t", 0);
    const auto first = receive(5);
    const auto second = receive(6);
    const auto third = receive(9);  // with a hole, as transactions leave
    EXPECT_THAT(book.take_due(), ElementsAre(at(5)));
    acknowledge(third);
    EXPECT_THAT(book.take_due(), IsEmpty());
    acknowledge(first);
    EXPECT_THAT(book.take_due(), ElementsAre(at(6)));
    acknowledge(second);
    EXPECT_THAT(book.take_due(), ElementsAre(at(10)));
    EXPECT_THAT(book.take_due(), IsEmpty());
}

TEST_F(Positions, OfAFailedCommitAreDueAgain) {
    book.assigned("t", 0);
    acknowledge(receive(0));
    EXPECT_THAT(book.take_due(), ElementsAre(at(1)));
    book.not_committed("t", 0);
    EXPECT_THAT(book.take_due(), ElementsAre(at(1)));
}

TEST_F(Positions, OfALostSessionStandStill) {
    book.assigned("t", 0);
    const auto old = receive(0);
    EXPECT_THAT(book.take_due(), ElementsAre(at(0)));
    EXPECT_THAT(book.revoked("t", 0), ElementsAre(DeliveryTag{.queue = old.queue, .session = old.session}));
    EXPECT_THAT(book.received("t", 0, 1, 10), IsEmpty()) << "a straggler";
    acknowledge(old);
    EXPECT_THAT(book.take_due(), IsEmpty());
    book.assigned("t", 0);
    const auto again = receive(0);
    EXPECT_NE(again.session, old.session);
    EXPECT_EQ(again.queue, old.queue);
    EXPECT_THAT(book.take_due(), ElementsAre(at(0)));
    acknowledge(old);
    EXPECT_THAT(book.take_due(), IsEmpty()) << "a tag of the old session";
    acknowledge(again);
    EXPECT_THAT(book.take_due(), ElementsAre(at(1)));
    EXPECT_THAT(book.revoked("t", 7), IsEmpty()) << "never ours";
}

TEST_F(Positions, TheSeededBugOfTheHighestAcknowledgementIsSeen) {
    book.assigned("t", 0);
    receive(0);
    const auto second = receive(1);
    activate_mutant("kafka_commits_highest_acknowledged");
    acknowledge(second);
    activate_mutant({});
    EXPECT_THAT(book.take_due(), ElementsAre(at(2))) << "offset 0 would be lost";
}

TEST_F(Positions, ArePerPartition) {
    book.assigned("t", 0);
    book.assigned("t", 1);
    acknowledge(receive(0, 0));
    receive(3, 1);
    EXPECT_THAT(book.take_due("t", 1), ElementsAre(at(3, 1)));
    EXPECT_THAT(book.take_due(), ElementsAre(at(1, 0)));
}

TEST_F(Positions, OfANewGroupAtTheEndAreCommittedBeforeAnythingComes) {
    book.assigned("t", 0);
    book.begins_at("t", 0, 100);
    EXPECT_THAT(book.take_due(), ElementsAre(at(100)));
    const auto tag = receive(100);
    EXPECT_THAT(book.take_due(), IsEmpty());
    acknowledge(tag);
    EXPECT_THAT(book.take_due(), ElementsAre(at(101)));
}

TEST_F(Positions, WhatWasHandedOutIsNotHandedOutTwice) {
    book.assigned("t", 0);
    receive(4);
    EXPECT_THAT(book.received("t", 0, 4, 10), IsEmpty());
    EXPECT_THAT(book.received("t", 0, 3, 10), IsEmpty());
}

TEST_F(Positions, APartitionThatHoldsTooMuchPausesUntilHalfIsGone) {
    book.assigned("t", 0);
    std::vector<DeliveryTag> tags;
    for (int offset = 0; offset < 3; ++offset) tags.push_back(receive(offset));
    EXPECT_THAT(book.take_full(), IsEmpty());
    tags.push_back(receive(3));
    EXPECT_THAT(book.take_full(), ElementsAre(at(0)));
    EXPECT_THAT(book.take_full(), IsEmpty());
    acknowledge(tags[0]);
    EXPECT_THAT(book.take_relaxed(), IsEmpty());
    acknowledge(tags[1]);
    EXPECT_THAT(book.take_relaxed(), ElementsAre(at(0)));
    EXPECT_THAT(book.take_relaxed(), IsEmpty());
    book.assigned("t", 1);
    static_cast<void>(book.received("t", 1, 0, 5'000));
    EXPECT_THAT(book.take_full(), ElementsAre(at(0, 1))) << "by bytes";
}

}  // namespace
}  // namespace hufu::kafka
