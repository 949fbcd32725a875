// The order service: takes orders over HTTP, and reacts to what payment, stock and time have to say.
#include <hufu/core/clock.hpp>
#include <optional>

#include "domain/order_json.hpp"
#include "roles/role.hpp"
#include "roles/router.hpp"
#include "storage/evidence.hpp"
#include "storage/order_rows.hpp"

namespace shop {
namespace {

HttpResponse answer_again(const FirstAnswer& first, const std::string& hash, const NewOrder& order) {
    if (first.payload_hash != hash) {
        return refused({Refused::different_payload, "id", order.id,
                        "was used for another order; choose a new id or send the same fields"});
    }
    return {.status = 201, .body = first.body, .replayed = true};
}

/// Order, event and deadline commit together, or not at all.
HttpResponse place(Store& store, const NewOrder& ordered, std::chrono::milliseconds payment_timeout) {
    const Order order{.ordered = ordered};
    const FirstAnswer answer{payload_hash(ordered), to_json(order)};
    HttpResponse response;
    store.transact([&](Transaction& tx) {
        response = {.status = 201, .body = answer.body};
        if (!insert_order(tx, order, answer)) {
            response = answer_again(find_first_answer(tx, ordered.id).value(), answer.payload_hash, ordered);
            return;
        }
        announce(tx, event_of(order, EventKind::order_created));
        announce(tx, event_of(order, EventKind::payment_due), hufu::system_clock().system_now() + payment_timeout);
    });
    return response;
}

Refusal unknown_order(const std::string& id) { return {Refused::unknown, "id", id, "names an order that was placed"}; }

/// Takes the step the state machine allows and tells the world about it.
void take(Transaction& tx, const Order& order, const Step& step) {
    const auto next = advance(order, step);
    update_order(tx, next);
    announce(tx, event_of(next, step.event));
}

HttpResponse command(Store& store, const std::string& id, Trigger trigger) {
    HttpResponse response;
    store.transact([&](Transaction& tx) {
        const auto order = lock_order(tx, id);
        if (!order) {
            response = refused(unknown_order(id));
            return;
        }
        const auto decision = decide(*order, trigger);
        if (const auto* refusal = std::get_if<Refusal>(&decision)) {
            response = refused(*refusal);
            return;
        }
        const auto* step = std::get_if<Step>(&decision);
        if (step != nullptr) take(tx, *order, *step);
        response = {.status = 200, .body = to_json(step != nullptr ? advance(*order, *step) : *order)};
    });
    return response;
}

HttpResponse show(Store& store, const std::string& id) {
    std::optional<Order> order;
    store.read([&](Transaction& tx) { order = find_order(tx, id); });
    return order ? HttpResponse{.status = 200, .body = to_json(*order)} : refused(unknown_order(id));
}

std::optional<Trigger> trigger_of(EventKind kind) {
    switch (kind) {
        case EventKind::payment_charged: return Trigger::charged;
        case EventKind::payment_due: return Trigger::payment_overdue;
        case EventKind::stock_refused: return Trigger::stock_refused;
        default: return std::nullopt;
    }
}

/// What another service's event, or a deadline, does to the order it names.
hufu::HandlerResult react(Transaction& tx, const hufu::Message& message) {
    const auto event = parse_event(message);
    if (!event) return {hufu::Handled::reject, event.error().field + " " + event.error().rule};
    const auto trigger = trigger_of(event->kind);
    if (!trigger) return hufu::Handled::done;
    const auto order = lock_order(tx, event->order_id);
    if (!order) return {hufu::Handled::reject, "order " + event->order_id + " does not exist here"};
    const auto decision = decide(*order, *trigger);
    if (const auto* step = std::get_if<Step>(&decision)) take(tx, *order, *step);
    record_effect(tx, *event, message);
    return hufu::Handled::done;
}

HttpApplication order_application(Store& store, const RoleSettings& settings) {
    Router router;
    router.on("POST", "/orders",
              [&store, timeout = settings.payment_timeout](const HttpRequest& request, const std::string&) {
                  const auto ordered = parse_new_order(request.body);
                  return ordered ? place(store, *ordered, timeout) : refused(ordered.error());
              });
    router.on("GET", "/orders/{id}", [&store](const HttpRequest&, const std::string& id) { return show(store, id); });
    router.on("POST", "/orders/{id}/pay",
              [&store](const HttpRequest&, const std::string& id) { return command(store, id, Trigger::pay); });
    router.on("POST", "/orders/{id}/cancel",
              [&store](const HttpRequest&, const std::string& id) { return command(store, id, Trigger::cancel); });
    router.on("GET", "/health",
              [](const HttpRequest&, const std::string&) { return HttpResponse{.body = R"({"role":"order"})"}; });
    return router;
}

}  // namespace

Role order_role(Store& store, const RoleSettings& settings) {
    return {.tables = tables_with_evidence(order_tables),
            .application = order_application(store, settings),
            .reactions = {{"order", {EventKind::payment_charged, EventKind::stock_refused}, react},
                          {"order-deadlines", {EventKind::payment_due}, react}}};
}

}  // namespace shop
