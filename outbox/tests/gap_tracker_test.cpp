#include <gtest/gtest.h>
#include <hufu/outbox/gap_tracker.hpp>

#include <vector>

#include "key_table.hpp"
#include <hufu/core/random.hpp>

#include <map>
#include <string>

namespace hufu::outbox {
namespace {

Page page_of(const std::vector<Sequence>& seqs, TransactionNumber xmin) {
    Page page{.rows = {}, .xmin = xmin, .identity = "db"};
    for (const Sequence seq : seqs) page.rows.push_back({.seq = seq});
    return page;
}

/// Gap mode at position 10.
GapTracker started() {
    GapTracker tracker{100};
    tracker.start({.identity = "db", .base = 10, .bound = 50});
    (void)tracker.take(tracker.request({}, 10), page_of({}, 51), {});
    return tracker;
}

TEST(GapTracker, AsksForEverythingUpToBaseUntilItsTransactionsHaveEnded) {
    GapTracker tracker{100};
    tracker.start({.identity = "db", .base = 10, .bound = 50});
    const ReadRequest first = tracker.request({}, 10);
    EXPECT_EQ(first.upto, 10);
    EXPECT_EQ(first.after, 10);
    (void)tracker.take(first, page_of({3, 7, 12}, 50), {});
    EXPECT_TRUE(tracker.in_existence_mode());
    SeqSet known;
    for (const Sequence seq : {3, 7, 12}) known.insert(seq);
    const ReadRequest second = tracker.request(known, 10);
    EXPECT_EQ(second.skip, (std::vector<Sequence>{3, 7}));
    EXPECT_EQ(second.holes, (std::vector<Sequence>{11}));
    EXPECT_EQ(second.after, 12);
    (void)tracker.take(second, page_of({5}, 51), known);
    EXPECT_FALSE(tracker.in_existence_mode());
}

TEST(GapTracker, ReadsABacklogByPositionOnceItsTransactionsHaveEnded) {
    GapTracker tracker{100};
    tracker.start({.identity = "db", .base = 1'000, .bound = 50});
    (void)tracker.take(tracker.request({}, 3), page_of({100, 200, 300}, 51), {});
    EXPECT_FALSE(tracker.in_existence_mode());
    EXPECT_EQ(tracker.last(), 300);
    (void)tracker.take(tracker.request({}, 3), page_of({400, 500, 1'002}, 51), {});
    EXPECT_EQ(tracker.holes(), std::vector<Sequence>{1'001});  // below base nothing can appear
}

TEST(GapTracker, ForgetsAHoleOnlyWhenItsBoundHasPassed) {
    GapTracker tracker = started();
    (void)tracker.take(tracker.request({}, 10), page_of({12}, 60), {});
    EXPECT_EQ(tracker.holes(), std::vector<Sequence>{11});
    EXPECT_TRUE(tracker.needs_bound());
    (void)tracker.take(tracker.request({}, 10), page_of({}, 1'000), {});
    EXPECT_EQ(tracker.hole_count(), 1U);  // no bound, no end
    tracker.settle_ended(tracker.settle_begins(), 70);
    EXPECT_FALSE(tracker.needs_bound());
    (void)tracker.take(tracker.request({}, 10), page_of({}, 70), {});
    EXPECT_EQ(tracker.hole_count(), 1U);
    (void)tracker.take(tracker.request({}, 10), page_of({}, 71), {});
    EXPECT_EQ(tracker.hole_count(), 0U);
}

TEST(GapTracker, DoesNotBoundAHoleByASettleThatBeganBeforeIt) {
    GapTracker tracker = started();
    const std::uint64_t mark = tracker.settle_begins();
    (void)tracker.take(tracker.request({}, 10), page_of({12}, 60), {});
    tracker.settle_ended(mark, 70);
    EXPECT_TRUE(tracker.needs_bound());
}

TEST(GapTracker, KeepsAHoleThatThePageDidNotReach) {
    GapTracker tracker = started();
    (void)tracker.take(tracker.request({}, 10), page_of({12, 14}, 60), {});
    tracker.settle_ended(tracker.settle_begins(), 70);
    const std::vector<std::size_t> fresh = tracker.take(tracker.request({}, 1), page_of({11}, 80), {});
    EXPECT_EQ(fresh.size(), 1U);
    EXPECT_EQ(tracker.holes(), std::vector<Sequence>{13});
}

TEST(GapTracker, FallsBackToExistenceModeAboveTheCap) {
    GapTracker tracker = started();
    (void)tracker.take(tracker.request({}, 10), page_of({11, 5'000'000'000'000}, 60), {});
    EXPECT_TRUE(tracker.in_existence_mode());
    EXPECT_EQ(tracker.hole_count(), 0U);
    EXPECT_EQ(tracker.request({}, 10).upto, 5'000'000'000'000);
    (void)tracker.take(tracker.request({}, 10), page_of({}, 1'000), {});
    EXPECT_TRUE(tracker.in_existence_mode());  // no bound yet
    tracker.settle_ended(tracker.settle_begins(), 1'001);
    (void)tracker.take(tracker.request({}, 10), page_of({}, 1'002), {});
    EXPECT_FALSE(tracker.in_existence_mode());
}

TEST(GapTracker, PassesOverKnownRows) {
    GapTracker tracker = started();
    SeqSet known;
    known.insert(11);
    EXPECT_EQ(tracker.take(tracker.request(known, 10), page_of({11, 12}, 60), known), std::vector<std::size_t>{1});
}

TEST(SeqSet, GivesBackWhatWasPutIn) {
    SeqSet set;
    for (const Sequence seq : {900, 1, 64, 63}) EXPECT_TRUE(set.insert(seq));
    EXPECT_FALSE(set.insert(64));
    EXPECT_EQ(set.sorted(899), (std::vector<Sequence>{1, 63, 64}));
    EXPECT_TRUE(set.erase(64));
    EXPECT_FALSE(set.erase(64));
    EXPECT_EQ(set.size(), 3U);
    EXPECT_TRUE(set.contains(900));
}

TEST(KeyTable, AgreesWithAMapThroughAddingAndRemoving) {
    SeededRandom random{7};
    KeyTable table;
    std::map<std::string, std::uint32_t> expected;
    for (int round = 0; round < 20'000; ++round) {
        const std::string key = std::to_string(random.below(3'000));
        if (const auto found = expected.find(key); found != expected.end()) {
            ASSERT_EQ(table.find("t", key), found->second);
            if (random.below(2) == 0) {
                table.remove(found->second);
                expected.erase(found);
            }
        } else {
            ASSERT_EQ(table.find("t", key), no_key);
            expected[key] = table.find_or_add("t", key);
        }
    }
    EXPECT_EQ(table.size(), expected.size());
}

}  // namespace
}  // namespace hufu::outbox
