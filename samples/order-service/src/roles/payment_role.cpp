// The payment service: expects, takes and gives back money, once per event.
#include <boost/json.hpp>
#include <optional>

#include "domain/payment.hpp"
#include "roles/role.hpp"
#include "roles/router.hpp"
#include "storage/evidence.hpp"
#include "storage/payment_rows.hpp"

namespace shop {
namespace {

/// Charges, and tells the order service in the same transaction.
void charge(Transaction& tx, const Event& requested) {
    charge_payment(tx, requested);
    auto charged = requested;
    charged.kind = EventKind::payment_charged;
    announce(tx, charged);
}

hufu::HandlerResult react(Transaction& tx, const hufu::Message& message) {
    const auto event = parse_event(message);
    if (!event) return {hufu::Handled::reject, event.error().field + " " + event.error().rule};
    switch (payment_action(event->kind)) {
        case PaymentAction::none: return hufu::Handled::done;
        case PaymentAction::open: open_payment(tx, *event); break;
        case PaymentAction::charge: charge(tx, *event); break;
        case PaymentAction::give_back: give_back_payment(tx, *event); break;
    }
    record_effect(tx, *event, message);
    return hufu::Handled::done;
}

HttpResponse show(Store& store, const std::string& order_id) {
    std::optional<Payment> payment;
    store.read([&](Transaction& tx) { payment = find_payment(tx, order_id); });
    if (!payment) return refused({Refused::unknown, "id", order_id, "names an order whose payment is expected"});
    const boost::json::object body{{"order_id", payment->order_id},
                                   {"amount", payment->amount},
                                   {"charged", payment->charged},
                                   {"refunded", payment->refunded},
                                   {"state", payment->state}};
    return {.status = 200, .body = boost::json::serialize(body)};
}

HttpApplication payment_application(Store& store) {
    Router router;
    router.on("GET", "/payments/{order_id}",
              [&store](const HttpRequest&, const std::string& id) { return show(store, id); });
    router.on("GET", "/health",
              [](const HttpRequest&, const std::string&) { return HttpResponse{.body = R"({"role":"payment"})"}; });
    return router;
}

}  // namespace

Role payment_role(Store& store) {
    return {.tables = tables_with_evidence(payment_tables),
            .application = payment_application(store),
            .reactions = {{"payment",
                           {EventKind::order_created, EventKind::payment_requested, EventKind::order_cancelled,
                            EventKind::order_closed},
                           react}}};
}

}  // namespace shop
