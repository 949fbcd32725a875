#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "hole_watch.hpp"

namespace hufu::postgres {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Seqs = std::vector<outbox::Sequence>;

Snapshot snapshot(const char* text) { return Snapshot::parse(text).value(); }

TEST(Snapshot, ReadsPostgresText) {
    const auto read = snapshot("10:20:10,14,19");
    EXPECT_EQ(read.xmin, 10U);
    EXPECT_EQ(read.xmax, 20U);
    EXPECT_THAT(read.running, ElementsAre(10U, 14U, 19U));
    EXPECT_THAT(snapshot("10:10:").running, IsEmpty());
    EXPECT_TRUE(read.has_ended(9));
    EXPECT_FALSE(read.has_ended(14));
    EXPECT_TRUE(read.has_ended(15));
    EXPECT_FALSE(read.has_ended(20)) << "from xmax on everything counts as running";
    EXPECT_FALSE(Snapshot::parse("10:x:"));
    EXPECT_FALSE(Snapshot::parse(""));
}

TEST(SettleMarks, BoundsOnlyWhatWasThereBeforeTheSettleBegan) {
    SettleMarks marks;
    const auto before = marks.begun();
    const auto first = marks.begin();
    const auto during = marks.begun();
    marks.end(first, 50);
    EXPECT_EQ(marks.after(before), 50U);
    EXPECT_EQ(marks.after(during), 0U) << "it began before the hole was found";
    marks.end(marks.begin(), 60);
    EXPECT_EQ(marks.after(during), 60U);
}

class Watching : public testing::Test {
protected:
    /// A read that asks for what is loud and finds nothing.
    void read(const char* text, const Seqs& holes) {
        const auto asked = watch.loud(holes);
        watch.taken(snapshot(text), holes, asked, {});
    }
    void settle(outbox::TransactionNumber number) { marks.end(marks.begin(), number); }
    /// Hole 7, bound 31, beside transaction 20 that stays open.
    void make_quiet() {
        read("20:30:20,25", {7});
        settle(31);
        for (int i = 0; i < 40; ++i) read("20:40:20", {7});
        ASSERT_THAT(watch.loud(Seqs{7}), IsEmpty());
    }

    SettleMarks marks;
    HoleWatch watch{marks};
};

TEST_F(Watching, AsksForAHoleUntilItsOwnersAreKnownAndStay) {
    for (int i = 0; i < 40; ++i) read("20:30:20,25", {7});
    EXPECT_THAT(watch.loud(Seqs{7}), ElementsAre(7)) << "no bound: the owner may be above xmax";
    settle(31);
    for (int i = 0; i < 40; ++i) read("20:30:20,25", {7});
    EXPECT_THAT(watch.loud(Seqs{7}), ElementsAre(7)) << "the snapshot does not reach the bound";
    for (int i = 0; i < 40; ++i) read("20:40:20,25", {7});
    EXPECT_THAT(watch.loud(Seqs{7, 9}), ElementsAre(9));
}

TEST_F(Watching, MaySkipAQuietHoleOnlyWhileItsOwnersRun) {
    make_quiet();
    EXPECT_TRUE(watch.may_skip(snapshot("20:90:20,70")));
    EXPECT_FALSE(watch.may_skip(snapshot("70:90:70"))) << "the held transaction has ended: its row may be there";
}

TEST_F(Watching, ForgetsAnOwnerThatEndedWithoutARow) {
    make_quiet();
    const Seqs holes{7};
    watch.taken(snapshot("70:90:70"), holes, holes, {});
    EXPECT_TRUE(watch.may_skip(snapshot("70:90:70")));
    EXPECT_EQ(watch.quiet_count(), 1U);
    watch.taken(snapshot("70:95:70"), {}, {}, {});
    EXPECT_EQ(watch.quiet_count(), 0U);
}

TEST_F(Watching, DropsAHoleThatWasFilled) {
    make_quiet();
    const Seqs holes{7};
    watch.taken(snapshot("70:90:70"), holes, holes, holes);
    EXPECT_EQ(watch.quiet_count(), 0U);
    EXPECT_THAT(watch.loud(holes), ElementsAre(7));
}

TEST_F(Watching, StartsAnewWithANewConnection) {
    make_quiet();
    watch.forget();
    EXPECT_THAT(watch.loud(Seqs{7}), ElementsAre(7));
    EXPECT_TRUE(watch.may_skip(snapshot("70:90:70")));
}

}  // namespace
}  // namespace hufu::postgres
