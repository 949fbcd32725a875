#include <gmock/gmock.h>

#include "suites.hpp"

namespace hufu::conformance {
namespace {

using outbox::Ownership;
using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(OutboxStore, GivesBackWhatWasAppended) {
    Message full{.id = MessageId{{1, 2, 3}},
                 .topic = "orders",
                 .tag = "paid",
                 .keys = {"k1", "k2"},
                 .ordering_key = "42",
                 .body = {"\0\xff", 2}};
    full.headers.set("traceparent", "00-1-2-03");
    full.headers.set("empty", "");
    const auto before = under_test_->now();
    under_test_->append({full});
    const auto found = rows();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_GT(found[0].seq, 0);
    EXPECT_GE(found[0].created_at, before - seconds{1});
    auto stored = found[0].message;
    EXPECT_TRUE(stored.headers.get(header::committed_at).has_value());
    stored.headers.remove(header::committed_at);
    EXPECT_EQ(stored, full);
}

TEST_P(OutboxStore, MintsAnIdWhereThereIsNone) {
    under_test_->append({message("a", "1"), message("a", "2")});
    const auto found = rows();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_FALSE(found[0].message.id.is_nil());
    EXPECT_LT(found[0].message.id, found[1].message.id);
}

TEST_P(OutboxStore, ShowsNothingOfATransactionThatWasRolledBack) {
    under_test_->append({message("a", "1")}, false);
    EXPECT_THAT(rows(), IsEmpty());
    under_test_->append({message("a", "2")});
    ASSERT_EQ(rows().size(), 1u);
    EXPECT_EQ(rows()[0].message.body, "2");
}

TEST_P(OutboxStore, ReadsInSequenceOrderFromAPosition) {
    under_test_->append({message("a", "1"), message("b", "2"), message("a", "3")});
    const auto all = rows();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].message.body, "1");
    EXPECT_EQ(all[2].message.body, "3");
    EXPECT_THAT(seqs({.after = all[0].seq, .limit = 1}), ElementsAre(all[1].seq));
    EXPECT_THAT(seqs({.after = all[2].seq, .limit = 10}), IsEmpty());
}

TEST_P(OutboxStore, ReadsHolesAndKnownRanges) {
    under_test_->append({message("a", "1"), message("a", "2"), message("a", "3"), message("a", "4")});
    const auto all = seqs();
    ASSERT_EQ(all.size(), 4u);
    EXPECT_THAT(seqs({.after = all[2], .holes = {all[0]}, .limit = 10}), ElementsAre(all[0], all[3]));
    EXPECT_THAT(seqs({.after = all[3], .upto = all[2], .skip = {all[1]}, .limit = 10}), ElementsAre(all[0], all[2]));
    EXPECT_THAT(seqs({.after = all[2], .upto = all[2], .limit = 3}), ElementsAre(all[0], all[1], all[2]));
}

TEST_P(OutboxStore, StartsBelowEverythingThatIsWrittenLater) {
    const auto reader = under_test_->store().reader();
    const auto start = reader->start().value();
    EXPECT_FALSE(start.identity.empty());
    EXPECT_EQ(reader->read({.limit = 1})->identity, start.identity);
    under_test_->append({message("a", "1")});
    EXPECT_EQ(seqs({.after = start.base, .limit = 10}).size(), 1u);
}

TEST_P(OutboxStore, CountsRowsThatNobodyKnows) {
    under_test_->append({message("a", "1"), message("a", "2"), message("a", "3")});
    const auto all = seqs();
    const auto reader = under_test_->store().reader();
    EXPECT_EQ(reader->count_unknown(all[2], std::vector{all[0], all[2]}).value(), 1u);
    EXPECT_EQ(reader->count_unknown(all[2], all).value(), 0u);
    EXPECT_EQ(reader->count_unknown(all[0], {}).value(), 1u);
}

TEST_P(OutboxStore, SettlesExactlyTheRowsNamed) {
    under_test_->append({message("a", "1"), message("a", "2"), message("a", "3")});
    const auto all = seqs();
    const auto owner = claim();
    const auto settler = under_test_->store().settler();
    EXPECT_EQ(settler->settle(owner, std::vector{all[0], all[2]})->ownership, Ownership::held);
    EXPECT_THAT(seqs(), ElementsAre(all[1]));
    EXPECT_EQ(settler->settle(owner, std::vector{all[0]})->ownership, Ownership::held) << "settling again must be harmless";
    EXPECT_EQ(settler->settle(owner, {})->ownership, Ownership::held);
    EXPECT_THAT(seqs(), ElementsAre(all[1]));
}

TEST_P(OutboxStore, NeverUsesASequenceNumberTwice) {
    under_test_->append({message("a", "1")});
    const auto first = seqs().at(0);
    ASSERT_EQ(under_test_->store().settler()->settle(claim(), std::vector{first})->ownership, Ownership::held);
    under_test_->append({message("a", "2")});
    EXPECT_EQ(seqs({.after = first, .limit = 10}).size(), 1u);
}

TEST_P(OutboxStore, HasOneOwnerAtATime) {
    const auto lease = under_test_->store().lease();
    const auto first = lease->acquire("one", seconds{30}).value();
    ASSERT_TRUE(first.has_value());
    EXPECT_FALSE(under_test_->store().lease()->acquire("two", seconds{30}).value().has_value());
    const auto again = lease->acquire("one", seconds{30}).value();
    ASSERT_TRUE(again.has_value());
    EXPECT_GT(again->epoch, first->epoch);
    EXPECT_EQ(lease->renew(*again, seconds{30}).value(), Ownership::held);
    EXPECT_EQ(lease->renew(*first, seconds{30}).value(), Ownership::fenced);
}

TEST_P(OutboxStore, PassesTheLaneOnWhenTheLeaseEnds) {
    const auto lease = under_test_->store().lease();
    const auto first = claim("one");
    under_test_->expire_lease();
    EXPECT_EQ(lease->renew(first, seconds{30}).value(), Ownership::held) << "nobody took it meanwhile";
    under_test_->expire_lease();
    const auto second = lease->acquire("two", seconds{30}).value();
    ASSERT_TRUE(second.has_value());
    EXPECT_GT(second->epoch, first.epoch);
    EXPECT_EQ(lease->renew(first, seconds{30}).value(), Ownership::fenced);
}

TEST_P(OutboxStore, PassesTheLaneOnAtOnceWhenItIsReleased) {
    const auto lease = under_test_->store().lease();
    const auto first = claim("one");
    ASSERT_TRUE(lease->release(first));
    const auto second = lease->acquire("two", seconds{30}).value();
    ASSERT_TRUE(second.has_value());
    ASSERT_TRUE(lease->release(first)) << "releasing what is not ours any more does nothing";
    EXPECT_EQ(lease->renew(*second, seconds{30}).value(), Ownership::held);
}

TEST_P(OutboxStore, LetsAFormerOwnerChangeNothing) {
    under_test_->append(
        {message("a", "1"), {.topic = "orders", .body = "later", .deliver_at = under_test_->now() + hours{1}}});
    const auto all = seqs();
    const auto former = claim("one");
    under_test_->expire_lease();
    static_cast<void>(claim("two"));
    auto& store = under_test_->store();
    EXPECT_EQ(store.settler()->settle(former, all)->ownership, Ownership::fenced);
    const outbox::ParkRow row{all[0], 1, "failed", false};
    EXPECT_EQ(store.parking_lot()->park(former, std::span{&row, 1}).value(), Ownership::fenced);
    under_test_->make_delayed_due();
    EXPECT_EQ(store.delayed_rows()->move_due(former, 10)->ownership, Ownership::fenced);
    EXPECT_EQ(seqs(), all);
}

TEST_P(OutboxStore, NoticesAnotherDatabase) {
    under_test_->append({message("a", "1")});
    auto elsewhere = claim();
    elsewhere.identity += "-other";
    EXPECT_EQ(under_test_->store().settler()->settle(elsewhere, seqs())->ownership, Ownership::moved_on);
    EXPECT_EQ(seqs().size(), 1u);
}

TEST_P(OutboxStore, KeepsADelayedMessageUntilItIsDue) {
    const auto due = under_test_->now() + hours{1};
    under_test_->append({{.topic = "orders", .ordering_key = "a", .body = "later", .deliver_at = due},
                         {.topic = "orders", .ordering_key = "a", .body = "past", .deliver_at = due - hours{2}}});
    ASSERT_EQ(rows().size(), 1u);
    EXPECT_EQ(rows()[0].message.body, "past");
    const auto owner = claim();
    const auto delayed = under_test_->store().delayed_rows();
    const auto early = delayed->move_due(owner, 10).value();
    EXPECT_EQ(early.rows, 0u);
    ASSERT_TRUE(early.next_due_in.has_value());
    EXPECT_LE(*early.next_due_in, hours{1});
    EXPECT_GT(*early.next_due_in, hours{1} - seconds{60});
    under_test_->make_delayed_due();
    const auto moved = delayed->move_due(owner, 10).value();
    EXPECT_EQ(moved.rows, 1u);
    EXPECT_FALSE(moved.next_due_in.has_value());
    ASSERT_EQ(rows().size(), 2u);
    EXPECT_EQ(rows()[1].message.body, "later");
    EXPECT_FALSE(rows()[1].message.deliver_at.has_value());
    EXPECT_EQ(delayed->move_due(owner, 10)->rows, 0u);
}

TEST_P(OutboxStore, TellsItsStatus) {
    auto& store = under_test_->store();
    auto status = store.status().value();
    EXPECT_EQ(status.pending, 0u);
    EXPECT_FALSE(status.oldest_age.has_value());
    EXPECT_FALSE(status.owner.has_value());
    EXPECT_GT(status.schema_version, 0);
    under_test_->append({message("a", "1"),
                         message("b", "2"),
                         {.topic = "orders", .body = "later", .deliver_at = under_test_->now() + hours{1}}});
    const auto owner = claim("relay-7");
    const outbox::ParkRow row{seqs().at(0), 1, "failed", false};
    ASSERT_EQ(store.parking_lot()->park(owner, std::span{&row, 1}).value(), Ownership::held);
    status = store.status().value();
    EXPECT_EQ(status.pending, 1u);
    EXPECT_TRUE(status.oldest_age.has_value());
    EXPECT_EQ(status.parked_rows, 1u);
    EXPECT_EQ(status.parked_keys, 1u);
    EXPECT_EQ(status.delayed, 1u);
    EXPECT_TRUE(status.next_due_in.has_value());
    ASSERT_TRUE(status.owner.has_value());
    EXPECT_EQ(status.owner->owner, "relay-7");
    EXPECT_EQ(status.owner->epoch, owner.epoch);
    EXPECT_GT(status.owner->lease_left, seconds{20});
}

}  // namespace
}  // namespace hufu::conformance
