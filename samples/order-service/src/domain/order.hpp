// An order and what may happen to it. Pure: no clock, database or message in sight.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "domain/event.hpp"
#include "domain/refusal.hpp"

namespace shop {

/// What a customer sends. Validated by `parse_new_order` (order_json.hpp).
struct NewOrder {
    std::string id;
    std::int64_t amount = 0;  ///< in the smallest unit of the currency
    std::string sku;
    std::int64_t quantity = 0;
    friend bool operator==(const NewOrder&, const NewOrder&) = default;
};

enum class OrderState : std::uint8_t {
    pending,    ///< stock is being held, payment is awaited until the deadline
    paying,     ///< the payment service was asked to charge
    paid,       ///< charged; the goods may leave
    cancelled,  ///< by the customer, before payment
    closed,     ///< by us: not paid in time, or out of stock
};

[[nodiscard]] std::string_view to_string(OrderState state) noexcept;
/// Reads what `to_string` wrote; anything else is a bug or a damaged database and throws.
[[nodiscard]] OrderState parse_order_state(std::string_view text);

/// An order as it stands. `version` counts its events, so the newest event carries this number.
struct Order {
    NewOrder ordered;
    OrderState state = OrderState::pending;
    std::int64_t version = 1;
    friend bool operator==(const Order&, const Order&) = default;
};

/// What can happen to an order: two commands of the customer, three facts from elsewhere.
enum class Trigger : std::uint8_t { pay, cancel, charged, stock_refused, payment_overdue };

/// The order moves on and tells the world.
struct Step {
    OrderState to;
    EventKind event;
    friend bool operator==(const Step&, const Step&) = default;
};
/// It happened before, or no longer matters.
struct Unchanged {
    friend bool operator==(const Unchanged&, const Unchanged&) = default;
};

using Decision = std::variant<Step, Unchanged, Refusal>;

/// The order's state machine. Commands may be refused; facts never are.
[[nodiscard]] Decision decide(const Order& order, Trigger trigger);

/// The order after `step`, one version on.
[[nodiscard]] Order advance(Order order, const Step& step);

/// The event that belongs to the order's newest version.
[[nodiscard]] Event event_of(const Order& order, EventKind kind);

}  // namespace shop
