#include "storage/stock_rows.hpp"

namespace shop {

void set_shelf(Transaction& tx, std::string_view sku, std::int64_t available) {
    tx.run(
        "insert into shelves (sku, available) values ($1, $2) on conflict (sku) do update set available = "
        "excluded.available",
        {sku, available});
}

std::optional<std::int64_t> find_shelf(Transaction& tx, std::string_view sku) {
    const auto rows = tx.run("select available from shelves where sku = $1", {sku});
    if (rows.empty()) return std::nullopt;
    return rows.front().integer(0);
}

bool hold_stock(Transaction& tx, const Event& event) {
    const auto taken =
        tx.run("update shelves set available = available - $1 where sku = $2 and available >= $1 returning sku",
               {event.quantity, event.sku});
    if (taken.empty()) return false;
    tx.run(
        "insert into holds (order_id, sku, quantity, state) values ($1, $2, $3, 'held')"
        " on conflict (order_id) do update set quantity = holds.quantity + excluded.quantity",
        {event.order_id, event.sku, event.quantity});
    return true;
}

void release_stock(Transaction& tx, const Event& event) {
    tx.run(
        "update shelves set available = available + (select sum(quantity) from holds where order_id = $1)"
        " where sku in (select sku from holds where order_id = $1 and state <> 'released')",
        {event.order_id});
    tx.run("update holds set state = 'released' where order_id = $1", {event.order_id});
}

void ship_stock(Transaction& tx, const Event& event) {
    tx.run("update holds set state = 'shipped' where order_id = $1 and state = 'held'", {event.order_id});
}

}  // namespace shop
