// What the payment service does about an event. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "domain/event.hpp"

namespace shop {

enum class PaymentAction : std::uint8_t {
    none,       ///< this event is not payment's business
    open,       ///< expect money for this order
    charge,     ///< take the money, and say so
    give_back,  ///< the order ended: void what is open, give back what was taken
};

[[nodiscard]] constexpr PaymentAction payment_action(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::order_created: return PaymentAction::open;
        case EventKind::payment_requested: return PaymentAction::charge;
        case EventKind::order_cancelled:
        case EventKind::order_closed: return PaymentAction::give_back;
        case EventKind::order_paid:
        case EventKind::payment_due:
        case EventKind::payment_charged:
        case EventKind::stock_refused: break;
    }
    return PaymentAction::none;
}

}  // namespace shop
