#include "storage/payment_rows.hpp"

namespace shop {

void open_payment(Transaction& tx, const Event& event) {
    tx.run(
        "insert into payments (order_id, amount, charged, refunded, state) values ($1, $2, 0, 0, 'open')"
        " on conflict (order_id) do nothing",
        {event.order_id, event.amount});
}

void charge_payment(Transaction& tx, const Event& event) {
    tx.run("update payments set charged = charged + amount, state = 'charged' where order_id = $1", {event.order_id});
}

void give_back_payment(Transaction& tx, const Event& event) {
    tx.run(
        "update payments set refunded = charged, state = case when charged = 0 then 'voided' else 'refunded' end"
        " where order_id = $1",
        {event.order_id});
}

std::optional<Payment> find_payment(Transaction& tx, std::string_view order_id) {
    const auto rows =
        tx.run("select order_id, amount, charged, refunded, state from payments where order_id = $1", {order_id});
    if (rows.empty()) return std::nullopt;
    const auto& row = rows.front();
    return Payment{row.text(0), row.integer(1), row.integer(2), row.integer(3), row.text(4)};
}

}  // namespace shop
