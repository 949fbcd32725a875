// Payments in the payment service's database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "domain/event.hpp"
#include "storage/store.hpp"

namespace shop {

inline constexpr std::string_view payment_tables[] = {
    "create table if not exists payments (order_id text primary key, amount bigint not null, charged bigint not null,"
    " refunded bigint not null, state text not null)",
};

struct Payment {
    std::string order_id;
    std::int64_t amount = 0;    ///< what the order costs
    std::int64_t charged = 0;   ///< what was taken, in all
    std::int64_t refunded = 0;  ///< what was given back, in all
    std::string state;          ///< open, charged, voided or refunded
};

// These trust the guard: run twice for one event, they take the money twice. That is the point of the guard.
void open_payment(Transaction& tx, const Event& event);
void charge_payment(Transaction& tx, const Event& event);
void give_back_payment(Transaction& tx, const Event& event);
[[nodiscard]] std::optional<Payment> find_payment(Transaction& tx, std::string_view order_id);

}  // namespace shop
