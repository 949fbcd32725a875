// The order service: takes orders over HTTP, and reacts to what payment, stock and time have to say.
#include <optional>

#include "domain/order_json.hpp"
#include "roles/hand_over.hpp"
#include "roles/order_requests.hpp"
#include "roles/role.hpp"
#include "roles/router.hpp"
#include "storage/evidence.hpp"
#include "storage/order_rows.hpp"

namespace shop {
namespace {

HttpResponse show(Store& store, const std::string& id) {
    std::optional<Order> order;
    store.read([&](Transaction& tx) { order = find_order(tx, id); });
    if (!order) return refused({Refused::unknown, "id", id, "names an order that was placed"});
    return {.status = 200, .body = to_json(*order)};
}

std::optional<Trigger> trigger_of(EventKind kind) {
    switch (kind) {
        case EventKind::payment_charged: return Trigger::charged;
        case EventKind::payment_due: return Trigger::payment_overdue;
        case EventKind::stock_refused: return Trigger::stock_refused;
        default: return std::nullopt;
    }
}

/// What another service's event, or a deadline, does to the order it names. With transaction messages, an event of the order
/// may be committed and not visible yet; a step then waits for it, unless the message answers that very event.
hufu::HandlerResult react(Transaction& tx, const hufu::Message& message, Telling telling) {
    const auto event = parse_event(message);
    if (!event) return {hufu::Handled::reject, event.error().field + " " + event.error().rule};
    const auto trigger = trigger_of(event->kind);
    if (!trigger) return hufu::Handled::done;
    const auto order = lock_order(tx, event->order_id);
    if (!order) return {hufu::Handled::reject, "order " + event->order_id + " does not exist here"};
    const auto decision = decide(*order, *trigger);
    if (const auto* step = std::get_if<Step>(&decision)) {
        if (telling == Telling::transaction_messages && event->version < order->version &&
            find_told(tx, event->order_id) < order->version) {
            return {hufu::Handled::retry, "order " + event->order_id + " has an event that is not visible yet"};
        }
        take(tx, *order, *step);
        // The outbox keeps the order of its own events, and customers can ask for nothing more after one of these.
        if (telling == Telling::transaction_messages) set_told(tx, event->order_id, order->version + 1);
    }
    record_effect(tx, *event, message);
    return hufu::Handled::done;
}

std::function<HttpResponse(Store&, const NewOrder&, std::chrono::milliseconds)> placing(const RoleSettings& settings) {
    switch (settings.telling) {
        case Telling::transaction_messages: return place_by_message;
        case Telling::hand_over:
            return
                [hand_over = settings.hand_over](Store& store, const NewOrder& ordered, std::chrono::milliseconds timeout) {
                    return place_in_turn(store, *hand_over, ordered, timeout);
                };
        case Telling::outbox: break;
    }
    return place;
}

std::function<HttpResponse(Store&, const std::string&, Trigger)> asking(const RoleSettings& settings) {
    switch (settings.telling) {
        case Telling::transaction_messages: return command_by_message;
        case Telling::hand_over:
            return [hand_over = settings.hand_over](Store& store, const std::string& id, Trigger trigger) {
                return command_in_turn(store, *hand_over, id, trigger);
            };
        case Telling::outbox: break;
    }
    return command;
}

HttpApplication order_application(Store& store, const RoleSettings& settings) {
    const auto place_order = placing(settings);
    const auto ask = asking(settings);
    Router router;
    router.on("POST", "/orders",
              [&store, place_order, timeout = settings.payment_timeout](const HttpRequest& request, const std::string&) {
                  const auto ordered = parse_new_order(request.body);
                  return ordered ? place_order(store, *ordered, timeout) : refused(ordered.error());
              });
    router.on("GET", "/orders/{id}", [&store](const HttpRequest&, const std::string& id) { return show(store, id); });
    router.on("POST", "/orders/{id}/pay",
              [&store, ask](const HttpRequest&, const std::string& id) { return ask(store, id, Trigger::pay); });
    router.on("POST", "/orders/{id}/cancel",
              [&store, ask](const HttpRequest&, const std::string& id) { return ask(store, id, Trigger::cancel); });
    router.on("GET", "/health",
              [](const HttpRequest&, const std::string&) { return HttpResponse{.body = R"({"role":"order"})"}; });
    return router;
}

/// Requests that change something, each in the transaction that also keeps its answer.
KeyedApplication keyed_application(std::chrono::milliseconds payment_timeout) {
    BasicRouter<Transaction&> router;
    router.on("POST", "/orders", [payment_timeout](Transaction& tx, const HttpRequest& request, const std::string&) {
        const auto ordered = parse_new_order(request.body);
        return ordered ? place_in(tx, *ordered, payment_timeout) : refused(ordered.error());
    });
    router.on("POST", "/orders/{id}/pay",
              [](Transaction& tx, const HttpRequest&, const std::string& id) { return command_in(tx, id, Trigger::pay); });
    router.on("POST", "/orders/{id}/cancel", [](Transaction& tx, const HttpRequest&, const std::string& id) {
        return command_in(tx, id, Trigger::cancel);
    });
    return router;
}

}  // namespace

Role order_role(Store& store, const RoleSettings& settings) {
    const Effect reaction = [telling = settings.telling](Transaction& tx, const hufu::Message& message) {
        return react(tx, message, telling);
    };
    Role role{.tables = tables_with_evidence(order_tables),
              .application = order_application(store, settings),
              .keyed = {},
              .reactions = {{"order", {EventKind::payment_charged, EventKind::stock_refused}, reaction},
                            {"order-deadlines", {EventKind::payment_due}, reaction}}};
    if (settings.telling == Telling::outbox) role.keyed = keyed_application(settings.payment_timeout);
    if (settings.telling == Telling::hand_over) {
        role.around = [hand_over = settings.hand_over](hufu::Handler handler) {
            return hand_over->in_turn(std::move(handler));
        };
    }
    if (settings.telling == Telling::transaction_messages) {
        role.tables.push_back(told_table);
        role.reactions.push_back(
            {"order-told", {EventKind::order_created, EventKind::payment_requested, EventKind::order_cancelled}, note_told});
    }
    return role;
}

}  // namespace shop
