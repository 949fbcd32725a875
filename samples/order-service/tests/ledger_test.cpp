#include "ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <hufu/core/error.hpp>
#include <thread>

#include "load.hpp"
#include "domain/order_json.hpp"

namespace shop::demo {
namespace {

using ::testing::HasSubstr;

std::string fresh(const std::string& name) {
    const auto path = testing::TempDir() + name;
    std::filesystem::remove(path);
    return path;
}

TEST(Ledger, ReadsBackWhatSeveralThreadsWrote) {
    const auto path = fresh("ledger_threads.txt");
    {
        LedgerWriter writer{path};
        std::thread one{[&] {
            for (int i = 0; i < 100; ++i) writer.created("a-" + std::to_string(i));
        }};
        std::thread two{[&] {
            for (int i = 0; i < 100; ++i) writer.created("b-" + std::to_string(i));
        }};
        one.join();
        two.join();
        writer.paid("a-1");
        writer.cancelled("b-2");
    }
    const auto ledger = read_ledger(path);
    EXPECT_EQ(ledger.size(), 200U);
    EXPECT_EQ(ledger.at("a-1"), (LedgerEntry{.created = true, .paid = true}));
    EXPECT_EQ(ledger.at("b-2"), (LedgerEntry{.created = true, .cancelled = true}));
}

TEST(Ledger, NamesALineThatIsNone) {
    const auto path = fresh("ledger_bad.txt");
    std::ofstream{path} << "created o-1\neaten o-2\n";
    try {
        (void)read_ledger(path);
        FAIL();
    } catch (const hufu::Exception& exception) {
        EXPECT_THAT(exception.error().text(), HasSubstr("eaten o-2"));
    }
}

TEST(Load, PlacesOrdersThatTheServiceCanRead) {
    for (std::uint64_t number = 0; number < 100; ++number) {
        const auto order = parse_new_order(order_body(number, 50));
        ASSERT_TRUE(order) << order_body(number, 50);
        EXPECT_EQ(order->id, order_id(number));
    }
}

TEST(Load, PlansEveryFateOfAnOrder) {
    int plans[3] = {};
    for (std::uint64_t number = 0; number < 100; ++number) ++plans[static_cast<int>(plan_of(number))];
    EXPECT_THAT(plans, testing::ElementsAre(90, 5, 5));
}

}  // namespace
}  // namespace shop::demo
