#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/ids.hpp>
#include <hufu/testing/fake_clock.hpp>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;
using ::testing::HasSubstr;

TEST(MessageId, ReadsBackWhatItWrites) {
    const std::string text = "0192f3a1-7c3e-7abc-8def-0123456789ab";
    const auto id = MessageId::parse(text).value();
    EXPECT_EQ(id.to_string(), text);
    EXPECT_EQ(MessageId::parse("0192F3A1-7C3E-7ABC-8DEF-0123456789AB").value(), id);
    EXPECT_FALSE(id.is_nil());
    EXPECT_TRUE(MessageId{}.is_nil());
    EXPECT_EQ(MessageId{}.to_string(), "00000000-0000-0000-0000-000000000000");
}

TEST(MessageId, RefusesWhatIsNoUuidAndNamesIt) {
    for (const std::string_view bad :
         {"", "0192f3a1", "0192f3a1-7c3e-7abc-8def-0123456789ag", "0192f3a17c3e-7abc-8def-0123456789ab--",
          "0192f3a1-7c3e-7abc-8def-0123456789ab0", "{192f3a1-7c3e-7abc-8def-0123456789ab"}) {
        const auto id = MessageId::parse(bad);
        ASSERT_TRUE(id.has_error()) << bad;
        EXPECT_EQ(id.error().code(), ErrorCode::invalid_argument);
        EXPECT_THAT(id.error().text(), HasSubstr("\"" + std::string{bad} + "\""));
    }
}

TEST(MessageId, OrdersAsItsText) {
    const auto early = MessageId::parse("0192f3a1-7c3e-7abc-8def-0123456789ab").value();
    const auto late = MessageId::parse("0192f3a1-7c3f-7000-8000-000000000000").value();
    EXPECT_LT(early, late);
    EXPECT_NE(std::hash<MessageId>{}(early), std::hash<MessageId>{}(late));
}

TEST(MessageIdGenerator, MintsVersion7WithTheClocksMillisecond) {
    FakeClock clock;
    SeededRandom random{1};
    MessageIdGenerator ids{clock, random};
    const auto id = ids.next();
    EXPECT_EQ(id.to_string()[14], '7');
    EXPECT_THAT((std::set<char>{'8', '9', 'a', 'b'}), ::testing::Contains(id.to_string()[19]));
    EXPECT_EQ(id.minted_at(), clock.system_now());
}

TEST(MessageIdGenerator, GrowsWhenTheClockStandsStepsBackAndRuns) {
    FakeClock clock;
    SeededRandom random{1};
    MessageIdGenerator ids{clock, random};
    auto last = ids.next();
    for (int count = 0; count < 50'000; ++count) {
        if (count % 10'000 == 5'000) clock.step_system(-1h);
        if (count % 1'000 == 0) clock.advance(1ms);
        const auto id = ids.next();
        ASSERT_LT(last, id) << "after " << count;
        last = id;
    }
}

TEST(MessageIdGenerator, GivesDistinctIdsToManyThreads) {
    MessageIdGenerator ids{system_clock(), system_random()};
    std::vector<std::vector<MessageId>> minted(4);
    {
        std::vector<std::jthread> threads;
        for (auto& mine : minted) {
            threads.emplace_back([&ids, &mine] {
                for (int count = 0; count < 5'000; ++count) mine.push_back(ids.next());
            });
        }
    }
    std::set<MessageId> all;
    for (const auto& ones : minted) {
        EXPECT_TRUE(std::is_sorted(ones.begin(), ones.end()));
        all.insert(ones.begin(), ones.end());
    }
    EXPECT_EQ(all.size(), 20'000u);
}

}  // namespace
}  // namespace hufu
