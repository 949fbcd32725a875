// Orders in the order service's database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "domain/order.hpp"
#include "storage/store.hpp"

namespace shop {

inline constexpr std::string_view order_tables[] = {
    "create table if not exists orders (id text primary key, amount bigint not null, sku text not null, quantity bigint not "
    "null,"
    " state text not null, version bigint not null, payload_hash text not null, answer text not null)",
};

/// Beside them where the service sends transaction messages: the last version of an order that was seen on its topic.
inline constexpr std::string_view told_table =
    "create table if not exists told (order_id text primary key, version bigint not null)";

/// What was answered to the request that placed an order.
struct FirstAnswer {
    std::string payload_hash;
    std::string body;
};

/// False if the id is taken; waits for a transaction that is taking it.
[[nodiscard]] bool insert_order(Transaction& tx, const Order& order, const FirstAnswer& answer);
[[nodiscard]] std::optional<FirstAnswer> find_first_answer(Transaction& tx, std::string_view id);
[[nodiscard]] std::optional<Order> find_order(Transaction& tx, std::string_view id);
/// As `find_order`, and nobody else changes it before this transaction ends.
[[nodiscard]] std::optional<Order> lock_order(Transaction& tx, std::string_view id);
/// Stores state and version.
void update_order(Transaction& tx, const Order& order);

/// 0: none was.
[[nodiscard]] std::int64_t find_told(Transaction& tx, std::string_view id);
/// Keeps the higher one.
void set_told(Transaction& tx, std::string_view id, std::int64_t version);

}  // namespace shop
