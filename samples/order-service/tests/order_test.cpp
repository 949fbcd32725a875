#include "domain/order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/payment.hpp"
#include "domain/stock.hpp"

namespace shop {
namespace {

Order order_in(OrderState state, std::int64_t version = 1) {
    return {.ordered = {.id = "o-1", .amount = 500, .sku = "tea", .quantity = 2}, .state = state, .version = version};
}

void expect_refused(const Decision& decision, std::string_view state) {
    ASSERT_TRUE(std::holds_alternative<Refusal>(decision));
    const auto& refusal = std::get<Refusal>(decision);
    EXPECT_EQ(refusal.kind, Refused::conflict);
    EXPECT_EQ(refusal.field, "state");
    EXPECT_EQ(refusal.value, state);
}

TEST(Order, AsksForTheMoneyWhenAPendingOneIsPaid) {
    EXPECT_EQ(decide(order_in(OrderState::pending), Trigger::pay),
              Decision(Step{OrderState::paying, EventKind::payment_requested}));
}

TEST(Order, TakesARepeatedPayOrCancelAsDone) {
    EXPECT_EQ(decide(order_in(OrderState::paying), Trigger::pay), Decision(Unchanged{}));
    EXPECT_EQ(decide(order_in(OrderState::paid), Trigger::pay), Decision(Unchanged{}));
    EXPECT_EQ(decide(order_in(OrderState::cancelled), Trigger::cancel), Decision(Unchanged{}));
}

TEST(Order, RefusesToPayWhatHasEnded) {
    expect_refused(decide(order_in(OrderState::cancelled), Trigger::pay), "cancelled");
    expect_refused(decide(order_in(OrderState::closed), Trigger::pay), "closed");
}

TEST(Order, RefusesToCancelOncePaymentIsUnderWay) {
    expect_refused(decide(order_in(OrderState::paying), Trigger::cancel), "paying");
    expect_refused(decide(order_in(OrderState::paid), Trigger::cancel), "paid");
    expect_refused(decide(order_in(OrderState::closed), Trigger::cancel), "closed");
}

TEST(Order, IsPaidByTheChargeUnlessItWasClosedMeanwhile) {
    EXPECT_EQ(decide(order_in(OrderState::paying), Trigger::charged),
              Decision(Step{OrderState::paid, EventKind::order_paid}));
    EXPECT_EQ(decide(order_in(OrderState::closed), Trigger::charged), Decision(Unchanged{}));
}

TEST(Order, ClosesAtTheDeadlineOnlyWhenNobodyPaid) {
    EXPECT_EQ(decide(order_in(OrderState::pending), Trigger::payment_overdue),
              Decision(Step{OrderState::closed, EventKind::order_closed}));
    for (const auto state : {OrderState::paying, OrderState::paid, OrderState::cancelled, OrderState::closed}) {
        EXPECT_EQ(decide(order_in(state), Trigger::payment_overdue), Decision(Unchanged{})) << to_string(state);
    }
}

TEST(Order, ClosesWhenStockRefusesAlsoAfterPayment) {
    for (const auto state : {OrderState::pending, OrderState::paying, OrderState::paid}) {
        EXPECT_EQ(decide(order_in(state), Trigger::stock_refused),
                  Decision(Step{OrderState::closed, EventKind::order_closed}))
            << to_string(state);
    }
    EXPECT_EQ(decide(order_in(OrderState::cancelled), Trigger::stock_refused), Decision(Unchanged{}));
}

TEST(Order, CountsItsEvents) {
    const auto paid = advance(order_in(OrderState::paying, 2), {OrderState::paid, EventKind::order_paid});
    EXPECT_EQ(paid, order_in(OrderState::paid, 3));
    EXPECT_EQ(event_of(paid, EventKind::order_paid).version, 3);
}

TEST(OrderState, ReadsBackWhatItWrites) {
    for (const auto state :
         {OrderState::pending, OrderState::paying, OrderState::paid, OrderState::cancelled, OrderState::closed}) {
        EXPECT_EQ(parse_order_state(to_string(state)), state);
    }
    EXPECT_THROW((void)parse_order_state("lost"), std::invalid_argument);
}

TEST(Payment, GivesBackWhenAnOrderEnds) {
    EXPECT_EQ(payment_action(EventKind::order_created), PaymentAction::open);
    EXPECT_EQ(payment_action(EventKind::payment_requested), PaymentAction::charge);
    EXPECT_EQ(payment_action(EventKind::order_cancelled), PaymentAction::give_back);
    EXPECT_EQ(payment_action(EventKind::order_closed), PaymentAction::give_back);
    EXPECT_EQ(payment_action(EventKind::order_paid), PaymentAction::none);
}

TEST(Stock, ShipsOnlyWhatIsPaid) {
    EXPECT_EQ(stock_action(EventKind::order_created), StockAction::hold);
    EXPECT_EQ(stock_action(EventKind::payment_requested), StockAction::none);
    EXPECT_EQ(stock_action(EventKind::order_paid), StockAction::ship);
    EXPECT_EQ(stock_action(EventKind::order_closed), StockAction::release);
}

}  // namespace
}  // namespace shop
