// The stock service: holds goods for new orders, ships them when paid, puts them back when the order ends.
#include <boost/json.hpp>
#include <optional>

#include "domain/order_json.hpp"
#include "domain/stock.hpp"
#include "roles/role.hpp"
#include "roles/router.hpp"
#include "storage/evidence.hpp"
#include "storage/stock_rows.hpp"

namespace shop {
namespace {

/// Holds the goods, or tells the order service in the same transaction that there are not enough.
void hold(Transaction& tx, const Event& created) {
    if (hold_stock(tx, created)) return;
    auto short_of = created;
    short_of.kind = EventKind::stock_refused;
    announce(tx, short_of);
}

hufu::HandlerResult react(Transaction& tx, const hufu::Message& message) {
    const auto event = parse_event(message);
    if (!event) return {hufu::Handled::reject, event.error().field + " " + event.error().rule};
    switch (stock_action(event->kind)) {
        case StockAction::none: return hufu::Handled::done;
        case StockAction::hold: hold(tx, *event); break;
        case StockAction::release: release_stock(tx, *event); break;
        case StockAction::ship: ship_stock(tx, *event); break;
    }
    record_effect(tx, *event, message);
    return hufu::Handled::done;
}

HttpResponse shelf(const std::string& sku, std::int64_t available) {
    return {.status = 200, .body = boost::json::serialize(boost::json::object{{"sku", sku}, {"available", available}})};
}

HttpResponse fill(Store& store, const std::string& sku, const HttpRequest& request) {
    const auto level = parse_stock_level(request.body);
    if (!level) return refused(level.error());
    store.transact([&](Transaction& tx) { set_shelf(tx, sku, *level); });
    return shelf(sku, *level);
}

HttpResponse show(Store& store, const std::string& sku) {
    std::optional<std::int64_t> available;
    store.read([&](Transaction& tx) { available = find_shelf(tx, sku); });
    if (!available) return refused({Refused::unknown, "sku", sku, "names a shelf; fill it with PUT /stock/{sku}"});
    return shelf(sku, *available);
}

HttpApplication stock_application(Store& store) {
    Router router;
    router.on("GET", "/stock/{sku}", [&store](const HttpRequest&, const std::string& sku) { return show(store, sku); });
    router.on("PUT", "/stock/{sku}",
              [&store](const HttpRequest& request, const std::string& sku) { return fill(store, sku, request); });
    router.on("GET", "/health",
              [](const HttpRequest&, const std::string&) { return HttpResponse{.body = R"({"role":"stock"})"}; });
    return router;
}

}  // namespace

Role stock_role(Store& store) {
    return {.tables = tables_with_evidence(stock_tables),
            .application = stock_application(store),
            .reactions = {
                {"stock",
                 {EventKind::order_created, EventKind::order_paid, EventKind::order_cancelled, EventKind::order_closed},
                 react}}};
}

}  // namespace shop
