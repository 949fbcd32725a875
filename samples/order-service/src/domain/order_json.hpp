// Orders as JSON: what customers send and what they get back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "domain/order.hpp"
#include "domain/refusal.hpp"

namespace shop {

namespace limit {
inline constexpr std::size_t name_max = 64;                    ///< characters of an order id or sku
inline constexpr std::int64_t amount_max = 1'000'000'000'000;  ///< keeps every sum of 9 million orders inside 64 bits
inline constexpr std::int64_t quantity_max = 1'000'000;
}  // namespace limit

/// Reads `{"id":…,"amount":…,"sku":…,"quantity":…}`: exactly these fields, each within its limit.
[[nodiscard]] Answer<NewOrder> parse_new_order(std::string_view body);

/// Reads `{"quantity":…}`, the level a shelf is set to; zero is allowed.
[[nodiscard]] Answer<std::int64_t> parse_stock_level(std::string_view body);

/// 1 to 64 characters of letters, digits, '-' and '_'.
[[nodiscard]] bool is_name(std::string_view text) noexcept;

[[nodiscard]] std::string to_json(const Order& order);

/// `{"error":{"kind":…,"field":…,"value":…,"rule":…}}`
[[nodiscard]] std::string to_json(const Refusal& refusal);

/// Tells payloads apart: equal for the same fields, whatever their order and white space were.
[[nodiscard]] std::string payload_hash(const NewOrder& order);

}  // namespace shop
