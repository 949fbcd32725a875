// Shelves and what is held on them, in the stock service's database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "domain/event.hpp"
#include "storage/store.hpp"

namespace shop {

inline constexpr std::string_view stock_tables[] = {
    "create table if not exists shelves (sku text primary key, available bigint not null)",
    "create table if not exists holds (order_id text primary key, sku text not null, quantity bigint not null, state text "
    "not null)",
};

/// Sets what is available of `sku`.
void set_shelf(Transaction& tx, std::string_view sku, std::int64_t available);
[[nodiscard]] std::optional<std::int64_t> find_shelf(Transaction& tx, std::string_view sku);

// These trust the guard: run twice for one event, they take the goods twice.
/// False, and nothing is taken, when the shelf does not have enough.
[[nodiscard]] bool hold_stock(Transaction& tx, const Event& event);
void release_stock(Transaction& tx, const Event& event);
void ship_stock(Transaction& tx, const Event& event);

}  // namespace shop
