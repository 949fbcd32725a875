#include "roles/order_requests.hpp"

#include <hufu/core/clock.hpp>
#include <optional>
#include <variant>

#include "roles/hand_over.hpp"
#include "roles/router.hpp"
#include "storage/evidence.hpp"
#include "storage/order_rows.hpp"
#include "storage/rerun.hpp"

namespace shop {
namespace {

HttpResponse answer_again(const FirstAnswer& first, const std::string& hash, const NewOrder& order) {
    if (first.payload_hash != hash) {
        return refused({Refused::different_payload, "id", order.id,
                        "was used for another order; choose a new id or send the same fields"});
    }
    return {.status = 201, .body = first.body, .replayed = true};
}

Refusal unknown_order(const std::string& id) { return {Refused::unknown, "id", id, "names an order that was placed"}; }

/// The event as a message that no outbox carries. The outbox notes the time of the commit in passing; here it is the time before
/// the half, or before the commit.
hufu::Message message_of(const Event& event, std::optional<hufu::SystemTime> deliver_at = {}) {
    auto message = to_message(event);
    message.deliver_at = deliver_at;
    const auto now = hufu::system_clock().system_now().time_since_epoch().count();
    message.headers.set(hufu::header::committed_at, std::to_string(now));
    return message;
}

struct Seen {
    std::optional<Order> order;
    std::int64_t told = 0;
};

Seen look(Store& store, const std::string& id) {
    Seen seen;
    store.read([&](Transaction& tx) { seen = {find_order(tx, id), find_told(tx, id)}; });
    return seen;
}

[[noreturn]] void again(const std::string& id, const std::string& why) {
    throw hufu::Exception{{hufu::ErrorCode::conflict, hufu::Disposition::retry, "order " + id + " " + why}};
}

/// Commits the step with its message, unless the order has changed since it was looked at.
void send_step(Store& store, const Order& looked_at, const Step& step) {
    const auto next = advance(looked_at, step);
    const auto event = event_of(next, step.event);
    const bool sent = store.send({message_of(event)}, [&](Transaction& tx) {
        const auto order = lock_order(tx, looked_at.ordered.id);
        if (!order || order->version != looked_at.version) return false;
        update_order(tx, next);
        record_event(tx, event);
        return true;
    });
    if (!sent) again(looked_at.ordered.id, "was changed by somebody else meanwhile");
}

}  // namespace

void take(Transaction& tx, const Order& order, const Step& step) {
    const auto next = advance(order, step);
    update_order(tx, next);
    announce(tx, event_of(next, step.event));
}

HttpResponse place_in(Transaction& tx, const NewOrder& ordered, std::chrono::milliseconds payment_timeout) {
    const Order order{.ordered = ordered};
    const FirstAnswer answer{payload_hash(ordered), to_json(order)};
    if (!insert_order(tx, order, answer)) {
        return answer_again(find_first_answer(tx, ordered.id).value(), answer.payload_hash, ordered);
    }
    announce(tx, event_of(order, EventKind::order_created));
    announce(tx, event_of(order, EventKind::payment_due), hufu::system_clock().system_now() + payment_timeout);
    return {.status = 201, .body = answer.body};
}

HttpResponse place(Store& store, const NewOrder& ordered, std::chrono::milliseconds payment_timeout) {
    HttpResponse response;
    store.transact([&](Transaction& tx) { response = place_in(tx, ordered, payment_timeout); });
    return response;
}

HttpResponse command_in(Transaction& tx, const std::string& id, Trigger trigger) {
    const auto order = lock_order(tx, id);
    if (!order) return refused(unknown_order(id));
    const auto decision = decide(*order, trigger);
    if (const auto* refusal = std::get_if<Refusal>(&decision)) return refused(*refusal);
    const auto* step = std::get_if<Step>(&decision);
    if (step != nullptr) take(tx, *order, *step);
    return {.status = 200, .body = to_json(step != nullptr ? advance(*order, *step) : *order)};
}

HttpResponse command(Store& store, const std::string& id, Trigger trigger) {
    HttpResponse response;
    store.transact([&](Transaction& tx) { response = command_in(tx, id, trigger); });
    return response;
}

HttpResponse place_by_message(Store& store, const NewOrder& ordered, std::chrono::milliseconds payment_timeout) {
    const Order order{.ordered = ordered};
    const FirstAnswer answer{payload_hash(ordered), to_json(order)};
    const auto created = event_of(order, EventKind::order_created);
    const auto due = event_of(order, EventKind::payment_due);
    std::optional<FirstAnswer> first;
    rerun_while_allowed([&] {
        store.read([&](Transaction& tx) { first = find_first_answer(tx, ordered.id); });
        if (first) return;
        const auto deadline = hufu::system_clock().system_now() + payment_timeout;
        const bool sent = store.send({message_of(created), message_of(due, deadline)}, [&](Transaction& tx) {
            if (!insert_order(tx, order, answer)) return false;
            record_event(tx, created);
            record_event(tx, due);
            return true;
        });
        if (!sent) again(ordered.id, "was placed by somebody else meanwhile");
    });
    return first ? answer_again(*first, answer.payload_hash, ordered) : HttpResponse{.status = 201, .body = answer.body};
}

HttpResponse command_by_message(Store& store, const std::string& id, Trigger trigger) {
    HttpResponse response;
    rerun_while_allowed([&] {
        const auto [order, told] = look(store, id);
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
        if (step != nullptr) {
            if (told < order->version) again(id, "has an event that is not visible yet");
            send_step(store, *order, *step);
        }
        response = {.status = 200, .body = to_json(step != nullptr ? advance(*order, *step) : *order)};
    });
    return response;
}

HttpResponse place_in_turn(Store& store, HandOver& hand_over, const NewOrder& ordered,
                           std::chrono::milliseconds payment_timeout) {
    const Order order{.ordered = ordered};
    const FirstAnswer answer{payload_hash(ordered), to_json(order)};
    const auto created = event_of(order, EventKind::order_created);
    HttpResponse response;
    hand_over.turn(ordered.id, [&] {
        std::vector<hufu::Message> messages;
        store.transact([&](Transaction& tx) {
            messages.clear();
            if (!insert_order(tx, order, answer)) {
                response = answer_again(find_first_answer(tx, ordered.id).value(), answer.payload_hash, ordered);
                return;
            }
            messages.push_back(message_of(created));
            record_event(tx, created);
            announce(tx, event_of(order, EventKind::payment_due), hufu::system_clock().system_now() + payment_timeout);
            response = {.status = 201, .body = answer.body};
        });
        return messages;
    });
    return response;
}

HttpResponse command_in_turn(Store& store, HandOver& hand_over, const std::string& id, Trigger trigger) {
    HttpResponse response;
    hand_over.turn(id, [&] {
        std::vector<hufu::Message> messages;
        store.transact([&](Transaction& tx) {
            messages.clear();
            const auto order = lock_order(tx, id);
            const auto decision = order ? decide(*order, trigger) : Decision{unknown_order(id)};
            if (const auto* refusal = std::get_if<Refusal>(&decision)) {
                response = refused(*refusal);
                return;
            }
            const auto* step = std::get_if<Step>(&decision);
            const auto next = step != nullptr ? advance(*order, *step) : *order;
            response = {.status = 200, .body = to_json(next)};
            if (step == nullptr) return;
            const auto event = event_of(next, step->event);
            update_order(tx, next);
            record_event(tx, event);
            messages.push_back(message_of(event));
        });
        return messages;
    });
    return response;
}

hufu::HandlerResult note_told(Transaction& tx, const hufu::Message& message) {
    const auto event = parse_event(message);
    if (!event) return {hufu::Handled::reject, event.error().field + " " + event.error().rule};
    set_told(tx, event->order_id, event->version);
    return hufu::Handled::done;
}

}  // namespace shop
