#include <gtest/gtest.h>

#include "ladder_reader.hpp"
#include "report.hpp"

namespace shop::demo {
namespace {

TEST(LadderReader, AddsUpWhatWaits) {
    const auto ladder = parse_ladder(
        R"({"way":"redis","degraded":true,"confirmed":5,"refused":2,"replayed":0,"rungs":[)"
        R"({"name":"redis","entries":7,"parked":1,"spilled":9},{"name":"journal","entries":3,"parked":0,"spilled":4}]})");
    EXPECT_EQ(ladder, (Ladder{.entries = 11, .refused = 2, .spilled = {9, 4}, .degraded = true}));
    EXPECT_THROW(parse_ladder("404 not found"), std::runtime_error);
}

TEST(Outcome, HoldsInBufferedModeOnlyWhenBothBuffersWereUsedAndAreEmpty) {
    Outcome outcome;
    EXPECT_TRUE(outcome.held());
    outcome.buffered = {.by_redis = 5, .by_journal = 4};
    EXPECT_TRUE(outcome.held());
    outcome.buffered->left = 1;
    EXPECT_EQ(outcome.broken(), "everything heals: 1 messages are still buffered");
    outcome.buffered = {.by_redis = 5, .by_journal = 0};
    EXPECT_EQ(outcome.broken(),
              "both buffers are used: 5 messages waited in Redis and 0 in the journal; give more --orders");
}

}  // namespace
}  // namespace shop::demo
