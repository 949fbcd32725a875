#include "domain/event.hpp"

#include <array>
#include <boost/json.hpp>
#include <optional>

namespace shop {
namespace {

struct Name {
    EventKind kind;
    std::string_view text;
    std::string_view topic;
};

constexpr std::array<Name, 8> names{{
    {EventKind::order_created, "order.created", topic::orders},
    {EventKind::payment_requested, "order.payment_requested", topic::orders},
    {EventKind::order_paid, "order.paid", topic::orders},
    {EventKind::order_cancelled, "order.cancelled", topic::orders},
    {EventKind::order_closed, "order.closed", topic::orders},
    {EventKind::payment_due, "order.payment_due", topic::deadlines},
    {EventKind::payment_charged, "payment.charged", topic::payments},
    {EventKind::stock_refused, "stock.refused", topic::stock},
}};

std::optional<EventKind> kind_of(std::string_view text) {
    for (const auto& name : names) {
        if (name.text == text) return name.kind;
    }
    return std::nullopt;
}

std::optional<std::string> text_at(const boost::json::object& object, std::string_view field) {
    const auto* value = object.if_contains(field);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string{value->get_string()};
}

std::optional<std::int64_t> integer_at(const boost::json::object& object, std::string_view field) {
    const auto* value = object.if_contains(field);
    if (value == nullptr || !value->is_int64()) return std::nullopt;
    return value->get_int64();
}

Refusal missing(std::string_view field, std::string_view rule) {
    return {Refused::invalid, std::string{field}, "", std::string{rule}};
}

}  // namespace

std::string_view to_string(EventKind kind) noexcept {
    for (const auto& name : names) {
        if (name.kind == kind) return name.text;
    }
    return "?";
}

std::string_view topic_of(EventKind kind) noexcept {
    for (const auto& name : names) {
        if (name.kind == kind) return name.topic;
    }
    return "?";
}

hufu::Message to_message(const Event& event) {
    const boost::json::object body{
        {"kind", to_string(event.kind)}, {"order_id", event.order_id}, {"version", event.version},
        {"amount", event.amount},        {"sku", event.sku},           {"quantity", event.quantity}};
    hufu::Message message;
    message.topic = topic_of(event.kind);
    message.tag = to_string(event.kind);
    message.keys = {event.order_id};
    message.ordering_key = event.order_id;
    message.body = boost::json::serialize(body);
    return message;
}

Answer<Event> parse_event(const hufu::Message& message) {
    boost::system::error_code failed;
    const auto value = boost::json::parse(message.body, failed);
    if (failed || !value.is_object()) {
        return Refusal{Refused::malformed, "body", message.body.substr(0, 80), "is a JSON object"};
    }
    const auto& object = value.get_object();
    const auto kind_text = text_at(object, "kind");
    const auto kind = kind_text ? kind_of(*kind_text) : std::nullopt;
    if (!kind) return missing("kind", "is the name of an event");
    auto order_id = text_at(object, "order_id");
    if (!order_id || order_id->empty()) return missing("order_id", "is a text that names an order");
    const auto version = integer_at(object, "version");
    if (!version || *version < 1) return missing("version", "is an integer from 1");
    const auto amount = integer_at(object, "amount");
    if (!amount) return missing("amount", "is an integer");
    auto sku = text_at(object, "sku");
    if (!sku) return missing("sku", "is a text");
    const auto quantity = integer_at(object, "quantity");
    if (!quantity) return missing("quantity", "is an integer");
    return Event{*kind, std::move(*order_id), *version, *amount, std::move(*sku), *quantity};
}

}  // namespace shop
