#include "storage/order_rows.hpp"

namespace shop {
namespace {

constexpr std::string_view select_order = "select id, amount, sku, quantity, state, version from orders where id = $1";

std::optional<Order> first_of(const Rows& rows) {
    if (rows.empty()) return std::nullopt;
    const auto& row = rows.front();
    return Order{.ordered = {.id = row.text(0), .amount = row.integer(1), .sku = row.text(2), .quantity = row.integer(3)},
                 .state = parse_order_state(row.text(4)),
                 .version = row.integer(5)};
}

}  // namespace

bool insert_order(Transaction& tx, const Order& order, const FirstAnswer& answer) {
    const auto& ordered = order.ordered;
    return !tx.run(
                  "insert into orders (id, amount, sku, quantity, state, version, payload_hash, answer)"
                  " values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing returning id",
                  {ordered.id, ordered.amount, ordered.sku, ordered.quantity, to_string(order.state), order.version,
                   answer.payload_hash, answer.body})
                .empty();
}

std::optional<FirstAnswer> find_first_answer(Transaction& tx, std::string_view id) {
    const auto rows = tx.run("select payload_hash, answer from orders where id = $1", {id});
    if (rows.empty()) return std::nullopt;
    return FirstAnswer{rows.front().text(0), rows.front().text(1)};
}

std::optional<Order> find_order(Transaction& tx, std::string_view id) { return first_of(tx.run(select_order, {id})); }

std::optional<Order> lock_order(Transaction& tx, std::string_view id) {
    return first_of(tx.run(std::string{select_order}.append(tx.row_lock()), {id}));
}

void update_order(Transaction& tx, const Order& order) {
    tx.run("update orders set state = $1, version = $2 where id = $3",
           {to_string(order.state), order.version, order.ordered.id});
}

std::int64_t find_told(Transaction& tx, std::string_view id) {
    const auto rows = tx.run("select version from told where order_id = $1", {id});
    return rows.empty() ? 0 : rows.front().integer(0);
}

void set_told(Transaction& tx, std::string_view id, std::int64_t version) {
    tx.run(
        "insert into told (order_id, version) values ($1, $2) on conflict (order_id) do update set version = "
        "excluded.version where told.version < excluded.version",
        {id, version});
}

}  // namespace shop
