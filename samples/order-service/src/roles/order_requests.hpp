// What customers ask of the order service, answered from its database. Two ways to tell the others: by the outbox, and by
// transaction messages.
#pragma once

#include <chrono>
#include <string>

#include <hufu/core/handler.hpp>
#include <hufu/core/message.hpp>

#include "domain/order.hpp"
#include "domain/order_json.hpp"
#include "http/message.hpp"
#include "storage/store.hpp"

namespace shop {

class HandOver;

/// Takes the step the state machine allows, and appends its event to the outbox.
void take(Transaction& tx, const Order& order, const Step& step);

/// Order, event and deadline commit together, or not at all.
[[nodiscard]] HttpResponse place(Store& store, const NewOrder& ordered, std::chrono::milliseconds payment_timeout);
/// Pays or cancels, with its event.
[[nodiscard]] HttpResponse command(Store& store, const std::string& id, Trigger trigger);

/// The same in a transaction of the caller's, who keeps the answer in it.
[[nodiscard]] HttpResponse place_in(Transaction& tx, const NewOrder& ordered, std::chrono::milliseconds payment_timeout);
[[nodiscard]] HttpResponse command_in(Transaction& tx, const std::string& id, Trigger trigger);

/// The same over `Store::send`. An order takes a step only when its last event was seen on the topic (`note_told`): two
/// transaction messages of one key become visible in the order of their ENDs, and a crash leaves END to the check-back.
[[nodiscard]] HttpResponse place_by_message(Store& store, const NewOrder& ordered,
                                            std::chrono::milliseconds payment_timeout);
[[nodiscard]] HttpResponse command_by_message(Store& store, const std::string& id, Trigger trigger);

/// The same with the order's events handed over after the commit, in the order's turn; the deadline is a row of the outbox, which
/// keeps it until it is due. What was committed and not taken makes the answer 503, and the request is to be repeated.
[[nodiscard]] HttpResponse place_in_turn(Store& store, HandOver& hand_over, const NewOrder& ordered,
                                         std::chrono::milliseconds payment_timeout);
[[nodiscard]] HttpResponse command_in_turn(Store& store, HandOver& hand_over, const std::string& id, Trigger trigger);

/// The effect of the service's own events on itself: what is visible is told.
[[nodiscard]] hufu::HandlerResult note_told(Transaction& tx, const hufu::Message& message);

}  // namespace shop
