// The book of halves without a verdict: order, lookups, and how much memory it takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include <hufu/core/random.hpp>

#include "dispatch/recent_ids.hpp"
#include "dispatch/transaction_book.hpp"

namespace hufu::broker::testing {
namespace {

using namespace std::chrono_literals;

Half half_of(std::uint64_t home, std::chrono::milliseconds due, std::uint32_t hash = 7) {
    Half half;
    half.home = home;
    half.place = {home, false};
    half.hash = hash;
    half.due = SteadyTime{} + due;
    return half;
}

TEST(TransactionBook, GivesOutWhatIsDueFirst) {
    TransactionBook book;
    book.add(half_of(1, 300ms));
    book.add(half_of(2, 100ms));
    book.add(half_of(3, 200ms));
    EXPECT_EQ(book.next()->home, 2U);
    book.erase(2);
    EXPECT_EQ(book.next()->home, 3U);
    Half later = *book.find(3);
    later.due = SteadyTime{} + 500ms;
    book.update(later);
    EXPECT_EQ(book.next()->home, 1U);
    Half parked = *book.find(1);
    parked.state = HalfState::parked;
    book.update(parked);
    EXPECT_EQ(book.next()->home, 3U);
    EXPECT_EQ(book.size(), 2U);
    EXPECT_EQ(book.pending(), 1U);
    EXPECT_EQ(book.count(HalfState::parked), 1U);
}

TEST(TransactionBook, KeepsAllThatIsSaidOfAHalf) {
    TransactionBook book;
    Half half = half_of((1ULL << 40U) - 1, 12'340ms, 0xABCDEF);
    half.place = {77, true};
    half.group = 9;
    half.checks = 300;
    half.step = 12;
    half.asked = half.unreachable = half.overdue = true;
    book.add(half);
    const auto found = book.find(half.home);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->place, half.place);
    EXPECT_EQ(found->hash, half.hash);
    EXPECT_EQ(found->group, 9);
    EXPECT_EQ(found->checks, 300);
    EXPECT_EQ(found->step, 12);
    EXPECT_TRUE(found->asked && found->unreachable && found->overdue);
    EXPECT_EQ(found->due, half.due);
    EXPECT_EQ(found->state, HalfState::pending);
}

TEST(TransactionBook, WakesThoseOfOneGroup) {
    TransactionBook book;
    for (std::uint64_t home = 0; home < 100; ++home) {
        Half half = half_of(home, std::chrono::milliseconds{10'000 + static_cast<std::int64_t>(home)});
        half.group = static_cast<std::uint16_t>(1 + home % 2);
        half.unreachable = true;
        book.add(half);
    }
    EXPECT_EQ(book.wake(2, SteadyTime{} + 50ms), 50U);
    EXPECT_EQ(book.next()->home, 1U);
    EXPECT_EQ(book.next()->due, SteadyTime{} + 50ms);
    EXPECT_EQ(book.wake(2, SteadyTime{} + 50ms), 0U);
}

TEST(TransactionBook, AgreesWithASimpleOneInALongRun) {
    SeededRandom random{7};
    TransactionBook book;
    std::map<std::uint64_t, Half> simple;
    std::uint64_t next = 0;
    for (int i = 0; i < 200'000; ++i) {
        const auto chance = random.below(10);
        if (chance < 5 || simple.empty()) {
            Half half = half_of(next++, std::chrono::milliseconds{10 * static_cast<std::int64_t>(random.below(1'000))},
                                static_cast<std::uint32_t>(random.below(50)));
            book.add(half);
            simple.emplace(half.home, half);
        } else {
            auto at = simple.lower_bound(random.below(next));
            if (at == simple.end()) at = simple.begin();
            if (chance < 9) {
                book.erase(at->first);
                simple.erase(at);
            } else {
                at->second.due =
                    SteadyTime{} + std::chrono::milliseconds{10 * static_cast<std::int64_t>(random.below(1'000))};
                at->second.state = random.below(2) == 0 ? HalfState::parked : HalfState::pending;
                book.update(at->second);
            }
        }
        if (i % 1'000 != 0) continue;
        ASSERT_EQ(book.size(), simple.size());
        const auto hash = static_cast<std::uint32_t>(random.below(50));
        std::vector<std::uint64_t> homes;
        const Half* first = nullptr;
        for (const auto& [home, half] : simple) {
            if (half.hash == hash) homes.push_back(home);
            if (half.state == HalfState::pending && (first == nullptr || half.due < first->due)) first = &half;
            ASSERT_EQ(book.find(home)->due, half.due);
        }
        const auto found = book.with_hash(hash, 1'000'000);
        ASSERT_EQ(std::vector<std::uint64_t>(found.begin(), found.end()), homes);
        ASSERT_EQ(book.next().has_value(), first != nullptr);
        if (first != nullptr) {
            ASSERT_EQ(book.next()->home, first->home);
        }
    }
}

TEST(TransactionBook, TakesNoMoreThan64BytesForEachHalf) {
    SeededRandom random{3};
    TransactionBook book;
    std::size_t most = 0;
    for (std::uint64_t home = 0; home < 1'000'000; ++home) {
        book.add(half_of(home, std::chrono::milliseconds{static_cast<std::int64_t>(home)},
                         static_cast<std::uint32_t>(random.below(1U << 24U))));
        if (home >= 10'000) most = std::max(most, book.memory_bytes() * 100 / book.size());
    }
    EXPECT_LE(most, 6'400U) << "hundredths of a byte, at the worst moment";
    RecordProperty("bytes_each_times_100", std::to_string(most));
    std::printf("at most %.2f bytes for each half\n", static_cast<double>(most) / 100);
}

TEST(RecentIds, KnowsTheLastOnesAndFewOthers) {
    SeededRandom random{5};
    RecentIds ids;
    EXPECT_FALSE(ids.may_contain(1));
    std::vector<std::uint64_t> added;
    for (std::size_t i = 0; i < 2 * RecentIds::each; ++i) {
        added.push_back(random.next());
        ids.add(added.back());
    }
    for (std::size_t i = added.size() - RecentIds::each; i < added.size(); ++i) ASSERT_TRUE(ids.may_contain(added[i]));
    std::size_t wrong = 0;
    for (int i = 0; i < 100'000; ++i) wrong += ids.may_contain(random.next()) ? 1 : 0;
    EXPECT_LT(wrong, 400U);
}

}  // namespace
}  // namespace hufu::broker::testing
