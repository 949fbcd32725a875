#include <gmock/gmock.h>

#include "suites.hpp"

namespace hufu::conformance {

using outbox::Key;
using outbox::Ownership;
using testing::ElementsAre;
using testing::IsEmpty;

void ParkingLot::SetUp() {
    under_test_->append({message("a", "a1"), message("a", "a2"), message("b", "b1"), message("", "n1"), message("", "n2")});
    seqs_ = seqs();
    ASSERT_EQ(seqs_.size(), 5u);
    claim_ = claim();
    lot_ = under_test_->store().parking_lot();
}

namespace {

const Key key_a{"orders", "a"};
const Key no_key{"orders", ""};

std::vector<std::string> bodies(const Result<std::vector<outbox::ParkedRow>>& rows) {
    std::vector<std::string> found;
    for (const auto& row : rows.value()) {
        found.push_back(row.row.message.body);
    }
    return found;
}

TEST_P(ParkingLot, MovesRowsOutOfTheLaneInOrder) {
    const std::vector<outbox::ParkRow> rows{{seqs_[0], 10, "too large", false}, {seqs_[1], 0, "waits", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held) << "parking again must be harmless";
    EXPECT_THAT(seqs(), ElementsAre(seqs_[2], seqs_[3], seqs_[4]));
    const auto shown = lot().show(key_a, 10).value();
    ASSERT_EQ(shown.size(), 2u);
    EXPECT_EQ(shown[0].row.seq, seqs_[0]);
    EXPECT_EQ(shown[0].row.message.body, "a1");
    EXPECT_EQ(shown[0].row.message.ordering_key, "a");
    EXPECT_EQ(shown[0].attempts, 10u);
    EXPECT_EQ(shown[0].reason, "too large");
    EXPECT_FALSE(shown[0].released);
    EXPECT_EQ(shown[1].reason, "waits");
    EXPECT_THAT(bodies(lot().show(key_a, 1)), ElementsAre("a1"));
}

TEST_P(ParkingLot, ListsKeysWithTheirFirstReason) {
    const std::vector<outbox::ParkRow> rows{
        {seqs_[0], 10, "too large", false}, {seqs_[1], 0, "waits", false}, {seqs_[2], 3, "no such topic", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    const auto keys = lot().list().value();
    ASSERT_EQ(keys.size(), 2u);
    EXPECT_EQ(keys[0].key, key_a);
    EXPECT_EQ(keys[0].rows, 2u);
    EXPECT_EQ(keys[0].rows_released, 0u);
    EXPECT_EQ(keys[0].first_seq, seqs_[0]);
    EXPECT_EQ(keys[0].attempts, 10u);
    EXPECT_EQ(keys[0].reason, "too large");
    EXPECT_EQ(keys[1].reason, "no such topic");
}

TEST_P(ParkingLot, ReleasesAKeyAsAWhole) {
    const std::vector<outbox::ParkRow> rows{{seqs_[0], 10, "too large", false}, {seqs_[1], 0, "waits", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 10)), IsEmpty());
    const auto alone = lot().release({key_a, seqs_[1]}, {"ann", "try"});
    ASSERT_FALSE(alone);
    EXPECT_EQ(alone.error().disposition(), Disposition::reject);
    EXPECT_EQ(lot().release({key_a, {}}, {"ann", "limit raised"}).value(), 2u);
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 10)), ElementsAre("a1", "a2"));
    EXPECT_THAT(bodies(lot().read_released(key_a, seqs_[0], 10)), ElementsAre("a2"));
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 1)), ElementsAre("a1"));
    EXPECT_EQ(lot().settle(claim_, std::vector{seqs_[0]}).value(), Ownership::held);
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 10)), ElementsAre("a2"));
    EXPECT_EQ(lot().settle(claim_, std::vector{seqs_[1]}).value(), Ownership::held);
    EXPECT_THAT(lot().list().value(), IsEmpty());
}

TEST_P(ParkingLot, SendsARowParkedBehindAReleasedKey) {
    const outbox::ParkRow head{seqs_[0], 10, "too large", false};
    ASSERT_EQ(lot().park(claim_, std::span{&head, 1}).value(), Ownership::held);
    ASSERT_EQ(lot().release({key_a, {}}, {"ann", "try"}).value(), 1u);
    const outbox::ParkRow behind{seqs_[1], 0, "waits", true};
    ASSERT_EQ(lot().park(claim_, std::span{&behind, 1}).value(), Ownership::held);
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 10)), ElementsAre("a1", "a2"));
}

TEST_P(ParkingLot, HoldsAReleasedKeyThatFailsAgain) {
    const std::vector<outbox::ParkRow> rows{{seqs_[0], 10, "too large", false}, {seqs_[1], 0, "waits", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    ASSERT_EQ(lot().release({key_a, {}}, {"ann", "try"}).value(), 2u);
    const outbox::ParkRow again{seqs_[0], 11, "still too large", false};
    EXPECT_EQ(lot().hold(claim_, key_a, again).value(), Ownership::held);
    EXPECT_THAT(bodies(lot().read_released(key_a, 0, 10)), IsEmpty());
    const auto keys = lot().list().value();
    ASSERT_EQ(keys.size(), 1u);
    EXPECT_EQ(keys[0].attempts, 11u);
    EXPECT_EQ(keys[0].reason, "still too large");
    EXPECT_EQ(keys[0].rows_released, 0u);
}

TEST_P(ParkingLot, ReleasesRowsWithoutAKeyOneByOne) {
    const std::vector<outbox::ParkRow> rows{{seqs_[3], 10, "too large", false}, {seqs_[4], 10, "too large", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    EXPECT_EQ(lot().release({no_key, seqs_[4]}, {"ann", "try"}).value(), 1u);
    EXPECT_THAT(bodies(lot().read_released(no_key, 0, 10)), ElementsAre("n2"));
    ASSERT_EQ(lot().release({no_key, {}}, {"ann", "all"}).value(), 2u);
    const outbox::ParkRow again{seqs_[3], 11, "still too large", false};
    ASSERT_EQ(lot().hold(claim_, no_key, again).value(), Ownership::held);
    EXPECT_THAT(bodies(lot().read_released(no_key, 0, 10)), ElementsAre("n2"));
}

TEST_P(ParkingLot, DiscardsForEverAndKeepsAnAudit) {
    const std::vector<outbox::ParkRow> rows{{seqs_[0], 10, "too large", false}, {seqs_[1], 0, "waits", false}};
    ASSERT_EQ(lot().park(claim_, rows).value(), Ownership::held);
    EXPECT_EQ(lot().discard({key_a, seqs_[0]}, {"ann", "test data"}).value(), 1u);
    EXPECT_EQ(lot().release({key_a, {}}, {"bob", "head is gone"}).value(), 1u);
    const auto entries = lot().audit(10).value();
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].action, "release");
    EXPECT_EQ(entries[0].note.who, "bob");
    EXPECT_FALSE(entries[0].selection.seq.has_value());
    EXPECT_EQ(entries[1].action, "discard");
    EXPECT_EQ(entries[1].selection.key, key_a);
    EXPECT_EQ(entries[1].selection.seq, seqs_[0]);
    EXPECT_EQ(entries[1].rows, 1u);
    EXPECT_EQ(entries[1].note.why, "test data");
    EXPECT_EQ(lot().audit(1)->size(), 1u);
}

TEST_P(ParkingLot, SaysWhenNothingIsParkedThere) {
    for (const auto& result : {lot().release({key_a, {}}, {"ann", "try"}), lot().discard({key_a, {}}, {"ann", "try"})}) {
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code(), ErrorCode::not_found);
        EXPECT_EQ(result.error().disposition(), Disposition::reject);
    }
    EXPECT_THAT(lot().audit(10).value(), IsEmpty());
}

}  // namespace
}  // namespace hufu::conformance
