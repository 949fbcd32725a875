#include "oracle.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report.hpp"

namespace shop::demo {
namespace {

using ::testing::HasSubstr;

/// One order, paid, with everything where it should be. Each test breaks one thing.
class Oracle : public testing::Test {
protected:
    Oracle() {
        ledger["o"] = {.created = true, .paid = true};
        evidence.orders["o"] = "paid";
        evidence.order.events = {{"orders", "o", 1, "order.created"},
                                 {"order-deadlines", "o", 1, "order.payment_due"},
                                 {"orders", "o", 2, "order.payment_requested"},
                                 {"orders", "o", 3, "order.paid"}};
        evidence.payment.events = {{"payments", "o", 2, "payment.charged"}};
        evidence.payment.effects = {{"orders", "o", 1, "order.created", 1'000, 3'000},
                                    {"orders", "o", 2, "order.payment_requested", 2'000, 5'000}};
        evidence.order.effects = {{"payments", "o", 2, "payment.charged", 5'000, 10'000},
                                  {"order-deadlines", "o", 1, "order.payment_due", 1'000, 9'001'000}};
        evidence.stock.effects = {{"orders", "o", 1, "order.created", 1'000, 2'000},
                                  {"orders", "o", 3, "order.paid", 10'000, 14'000}};
    }
    [[nodiscard]] Verdict verdict() const { return judge(ledger, evidence, windows); }

    Ledger ledger;
    Evidence evidence;
    std::vector<Window> windows;
};

TEST_F(Oracle, FindsNothingWhenAllIsWell) {
    const auto found = verdict();
    EXPECT_EQ(found.broken(), "");
    EXPECT_EQ(found.accepted, 1U);
    EXPECT_EQ(found.messages, 5U);
    EXPECT_EQ(found.effects, 6U);
}

TEST_F(Oracle, SeesAnAcceptedOrderThatVanished) {
    ledger["o-2"].created = true;
    EXPECT_EQ(verdict().lost, 1U);
    EXPECT_EQ(verdict().broken(), "nothing accepted is lost");
    EXPECT_THAT(verdict().examples.front(), HasSubstr("o-2"));
}

TEST_F(Oracle, SeesAPaymentThatWasAcceptedAndForgotten) {
    ledger["o"].cancelled = true;
    EXPECT_EQ(verdict().lost, 1U);
}

TEST_F(Oracle, SeesAnEventWithoutEffectInOneOfItsServices) {
    evidence.stock.effects.erase(evidence.stock.effects.begin());
    EXPECT_EQ(verdict().lost, 1U);
    EXPECT_THAT(verdict().examples.front(), HasSubstr("in stock"));
}

TEST_F(Oracle, SeesADeadlineThatNeverCame) {
    evidence.order.effects.pop_back();
    EXPECT_EQ(verdict().lost, 1U);
}

TEST_F(Oracle, CountsEveryEffectBeyondTheFirst) {
    const auto again = evidence.payment.effects.front();
    evidence.payment.effects.push_back(again);
    evidence.payment.effects.push_back(again);
    EXPECT_EQ(verdict().double_effects, 2U);
    EXPECT_EQ(verdict().reordered, 0U) << "a repeat is no reordering";
    EXPECT_EQ(verdict().broken(), "one effect per message");
}

TEST_F(Oracle, SeesEffectsOutOfOrder) {
    std::swap(evidence.stock.effects[0], evidence.stock.effects[1]);
    EXPECT_EQ(verdict().reordered, 1U);
    EXPECT_EQ(verdict().broken(), "order per key");
}

TEST_F(Oracle, SeesAnEffectOfWhatNobodyCommitted) {
    evidence.stock.effects.push_back({"orders", "o", 4, "order.closed", 1, 2});
    EXPECT_EQ(verdict().invented, 1U);
    EXPECT_EQ(verdict().broken(), "both or neither");
}

TEST_F(Oracle, SeesBooksThatDoNotBalance) {
    evidence.sums.overcharged = 1;
    EXPECT_EQ(verdict().broken(), "the books balance");
}

TEST_F(Oracle, MeasuresQuietTimesOutsideTheWindowsOnly) {
    EXPECT_DOUBLE_EQ(verdict().p99_ms, 5.0);
    windows = {{4'000, 6'000}};
    EXPECT_DOUBLE_EQ(verdict().p99_ms, 5.0);
    EXPECT_DOUBLE_EQ(verdict().p99_quiet_ms, 4.0) << "without 2 to 5 ms (payment requested) and 5 to 10 ms (charged)";
}

TEST(Report, IsOneJsonObjectThatNamesTheBrokenPromise) {
    Outcome outcome;
    outcome.verdict.double_effects = 3;
    outcome.verdict.accepted = 10;
    outcome.verdict.effects = 33;
    outcome.kills = 2;
    outcome.mode = "txmsg";
    EXPECT_EQ(
        json(outcome),
        R"({"held":false,"mode":"txmsg","accepted":10,"effects":33,"duplicates_absorbed":0,"lost":0,"double_effects":3,)"
        R"("reordered":0,"kills":2,"p50_ms":0E0,"p99_ms":0E0,"p99_quiet_ms":0E0,"broken":"one effect per message"})");
}

TEST(Report, HoldsOnlyWhenItBecameQuiet) {
    Outcome outcome;
    EXPECT_TRUE(outcome.held());
    outcome.stuck = "everything heals: 3 messages never left the outboxes";
    EXPECT_FALSE(outcome.held());
    EXPECT_THAT(table(outcome), HasSubstr("NOT HELD: everything heals"));
}

}  // namespace
}  // namespace shop::demo
