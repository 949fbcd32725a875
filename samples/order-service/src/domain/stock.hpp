// What the stock service does about an event. Pure.
#pragma once

#include <cstdint>

#include "domain/event.hpp"

namespace shop {

enum class StockAction : std::uint8_t {
    none,     ///< this event is not stock's business
    hold,     ///< reserve, or refuse when the shelf is empty
    release,  ///< the order ended: put back what was held
    ship,     ///< paid: what was held leaves
};

[[nodiscard]] constexpr StockAction stock_action(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::order_created: return StockAction::hold;
        case EventKind::order_cancelled:
        case EventKind::order_closed: return StockAction::release;
        case EventKind::order_paid: return StockAction::ship;
        case EventKind::payment_requested:
        case EventKind::payment_due:
        case EventKind::payment_charged:
        case EventKind::stock_refused: break;
    }
    return StockAction::none;
}

}  // namespace shop
