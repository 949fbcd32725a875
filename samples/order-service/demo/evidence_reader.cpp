#include "evidence_reader.hpp"

#include <hufu/outbox/store.hpp>

namespace shop::demo {
namespace {

ServiceEvidence read_service(Store& store) {
    ServiceEvidence evidence;
    store.read([&](Transaction& tx) {
        evidence = {};
        for (const auto& row : tx.run("select topic, order_id, seq, kind from events order by place")) {
            evidence.events.push_back({row.text(0), row.text(1), row.integer(2), row.text(3)});
        }
        for (const auto& row :
             tx.run("select topic, order_id, seq, kind, committed_at_us, effect_at_us from effects order by place")) {
            evidence.effects.push_back(
                {row.text(0), row.text(1), row.integer(2), row.text(3), row.integer(4), row.integer(5)});
        }
        evidence.absorbed = static_cast<std::uint64_t>(tx.run("select count(*) from absorbed").front().integer(0));
    });
    return evidence;
}

std::int64_t count(Store& store, std::string_view sql, std::initializer_list<Value> values = {}) {
    std::int64_t result = 0;
    store.read([&](Transaction& tx) { result = tx.run(sql, values).front().integer(0); });
    return result;
}

void add_progress(Progress& progress, Store& store) {
    const auto status = store.outbox()->status().value();
    progress.backlog += status.pending + status.delayed;
    progress.parked += status.parked_rows;
    progress.effects += static_cast<std::uint64_t>(count(store, "select count(*) from effects"));
}

}  // namespace

Progress read_progress(const Stores& stores) {
    Progress progress;
    add_progress(progress, stores.order);
    add_progress(progress, stores.payment);
    add_progress(progress, stores.stock);
    return progress;
}

Evidence read_evidence(const Stores& stores, std::int64_t delivered) {
    Evidence evidence{.orders = {},
                      .order = read_service(stores.order),
                      .payment = read_service(stores.payment),
                      .stock = read_service(stores.stock),
                      .sums = {}};
    stores.order.read([&](Transaction& tx) {
        for (const auto& row : tx.run("select id, state from orders")) evidence.orders[row.text(0)] = row.text(1);
    });
    evidence.sums.overcharged =
        count(stores.payment, "select count(*) from payments where charged <> 0 and charged <> amount");
    evidence.sums.shelves_wrong =
        count(stores.stock,
              "select count(*) from shelves where available + coalesce((select sum(quantity) from holds"
              " where holds.sku = shelves.sku and holds.state <> 'released'), 0) <> cast($1 as bigint)",
              {delivered});
    return evidence;
}

}  // namespace shop::demo
