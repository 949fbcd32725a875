#include <gtest/gtest.h>

#include "dispatch/recent_halves.hpp"

namespace hufu::broker::testing {
namespace {

std::vector<std::byte> record_of(std::uint64_t home, std::size_t size) {
    std::vector<std::byte> record(size);
    for (std::size_t i = 0; i < size; ++i) record[i] = static_cast<std::byte>((home + 7 * i) & 0xffU);
    return record;
}

bool keeps(const RecentHalves& halves, std::uint64_t home, std::size_t size) {
    const auto found = halves.find(home);
    const auto wanted = record_of(home, size);
    return std::equal(found.begin(), found.end(), wanted.begin(), wanted.end());
}

TEST(RecentHalves, KeepsTheLastOnesWholeAndForgetsTheOldest) {
    RecentHalves halves;
    const auto size_of = [](std::uint64_t home) { return static_cast<std::size_t>(1 + (home * 7919) % 5000); };
    for (std::uint64_t home = 100; home < 5'000; ++home) {
        ASSERT_FALSE(halves.add(home, record_of(home, size_of(home))).empty());
        if (home % 50 != 0) continue;
        std::size_t bytes = 0;
        std::uint64_t oldest = home + 1;
        while (oldest > 100 && keeps(halves, oldest - 1, size_of(oldest - 1))) bytes += size_of(--oldest);
        ASSERT_LE(bytes, RecentHalves::bytes_max);
        if (oldest == 100) continue;
        ASSERT_TRUE(halves.find(oldest - 1).empty()) << "forgotten whole, or kept whole";
        // What is lost to the end of the ring and to making room is less than two records.
        ASSERT_GE(bytes, RecentHalves::bytes_max - 2 * 5'000) << home;
    }
}

TEST(RecentHalves, KnowsNothingOfOthers) {
    RecentHalves halves;
    EXPECT_TRUE(halves.find(0).empty());
    halves.add(7, record_of(7, 10));
    EXPECT_TRUE(halves.find(6).empty());
    EXPECT_TRUE(keeps(halves, 7, 10));
    EXPECT_TRUE(halves.find(8).empty());
    halves.clear();
    EXPECT_TRUE(halves.find(7).empty());
}

TEST(RecentHalves, ForgetsAllWhenOffsetsBeginAnew) {
    RecentHalves halves;
    for (std::uint64_t home = 1; home < 10; ++home) halves.add(home, record_of(home, 10));
    halves.add(4, record_of(4, 20));
    EXPECT_TRUE(keeps(halves, 4, 20));
    EXPECT_TRUE(halves.find(3).empty());
    EXPECT_TRUE(halves.find(5).empty());
}

TEST(RecentHalves, DoesNotKeepWhatIsLargerThanItself) {
    RecentHalves halves;
    halves.add(1, record_of(1, 10));
    EXPECT_TRUE(halves.add(2, record_of(2, RecentHalves::bytes_max + 1)).empty());
    EXPECT_TRUE(halves.find(2).empty());
    halves.add(3, record_of(3, RecentHalves::bytes_max));
    EXPECT_TRUE(keeps(halves, 3, RecentHalves::bytes_max));
    halves.add(4, record_of(4, 1));
    EXPECT_TRUE(halves.find(3).empty());
    EXPECT_TRUE(keeps(halves, 4, 1));
}

}  // namespace
}  // namespace hufu::broker::testing
