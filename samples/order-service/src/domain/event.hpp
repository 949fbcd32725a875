// What the services tell each other.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <hufu/core/message.hpp>

#include "domain/refusal.hpp"

namespace shop {

namespace topic {
inline constexpr std::string_view orders = "orders";              ///< what happened to an order
inline constexpr std::string_view deadlines = "order-deadlines";  ///< delayed: the time to pay is over
inline constexpr std::string_view payments = "payments";          ///< what the payment service did
inline constexpr std::string_view stock = "stock";                ///< what the stock service could not do
}  // namespace topic

enum class EventKind : std::uint8_t {
    order_created,
    payment_requested,
    order_paid,
    order_cancelled,
    order_closed,
    payment_due,
    payment_charged,
    stock_refused,
};

/// "order.created" and so on; also the message's tag.
[[nodiscard]] std::string_view to_string(EventKind kind) noexcept;
[[nodiscard]] std::string_view topic_of(EventKind kind) noexcept;

/// One event of one order. `version` is the order's own count of its events: 1, 2, 3 … without holes on `topic::orders`.
struct Event {
    EventKind kind = EventKind::order_created;
    std::string order_id = {};
    std::int64_t version = 0;
    std::int64_t amount = 0;
    std::string sku = {};
    std::int64_t quantity = 0;
    friend bool operator==(const Event&, const Event&) = default;
};

/// The event as it travels: JSON body, the order id as ordering key, so that the events of an order keep their order.
[[nodiscard]] hufu::Message to_message(const Event& event);

/// Reads what `to_message` wrote. A refusal names the field.
[[nodiscard]] Answer<Event> parse_event(const hufu::Message& message);

}  // namespace shop
