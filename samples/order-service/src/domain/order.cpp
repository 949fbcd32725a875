#include "domain/order.hpp"

#include <array>
#include <stdexcept>
#include <utility>

namespace shop {
namespace {

constexpr std::array<std::pair<OrderState, std::string_view>, 5> state_names{{
    {OrderState::pending, "pending"},
    {OrderState::paying, "paying"},
    {OrderState::paid, "paid"},
    {OrderState::cancelled, "cancelled"},
    {OrderState::closed, "closed"},
}};

Refusal refuse(const Order& order, std::string_view rule) {
    return {Refused::conflict, "state", std::string{to_string(order.state)}, std::string{rule}};
}

Decision pay(const Order& order) {
    switch (order.state) {
        case OrderState::pending: return Step{OrderState::paying, EventKind::payment_requested};
        case OrderState::paying:
        case OrderState::paid: return Unchanged{};
        case OrderState::cancelled:
        case OrderState::closed: break;
    }
    return refuse(order, "only a pending order can be paid; place a new one");
}

Decision cancel(const Order& order) {
    switch (order.state) {
        case OrderState::pending: return Step{OrderState::cancelled, EventKind::order_cancelled};
        case OrderState::cancelled: return Unchanged{};
        case OrderState::paying:
        case OrderState::paid:
        case OrderState::closed: break;
    }
    return refuse(order, "only a pending order can be cancelled");
}

Decision charged(const Order& order) {
    // A closed order was refused by stock while the charge was under way; order.closed makes payment give it back.
    if (order.state == OrderState::paying) return Step{OrderState::paid, EventKind::order_paid};
    return Unchanged{};
}

Decision stock_refused(const Order& order) {
    if (order.state == OrderState::cancelled || order.state == OrderState::closed) return Unchanged{};
    return Step{OrderState::closed, EventKind::order_closed};
}

Decision payment_overdue(const Order& order) {
    if (order.state == OrderState::pending) return Step{OrderState::closed, EventKind::order_closed};
    return Unchanged{};
}

}  // namespace

std::string_view to_string(OrderState state) noexcept {
    for (const auto& [value, name] : state_names) {
        if (value == state) return name;
    }
    return "?";
}

OrderState parse_order_state(std::string_view text) {
    for (const auto& [value, name] : state_names) {
        if (name == text) return value;
    }
    throw std::invalid_argument{"order state \"" + std::string{text} + "\" is not one this program writes"};
}

Decision decide(const Order& order, Trigger trigger) {
    switch (trigger) {
        case Trigger::pay: return pay(order);
        case Trigger::cancel: return cancel(order);
        case Trigger::charged: return charged(order);
        case Trigger::stock_refused: return stock_refused(order);
        case Trigger::payment_overdue: return payment_overdue(order);
    }
    return Unchanged{};
}

Order advance(Order order, const Step& step) {
    order.state = step.to;
    ++order.version;
    return order;
}

Event event_of(const Order& order, EventKind kind) {
    return {.kind = kind,
            .order_id = order.ordered.id,
            .version = order.version,
            .amount = order.ordered.amount,
            .sku = order.ordered.sku,
            .quantity = order.ordered.quantity};
}

}  // namespace shop
