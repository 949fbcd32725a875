#include "domain/order_json.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <initializer_list>

namespace shop {
namespace {

constexpr std::size_t shown_max = 80;  // of a refused value, so that an answer stays an answer

std::string shown(std::string_view text) {
    return text.size() <= shown_max ? std::string{text} : std::string{text.substr(0, shown_max)} + "…";
}

std::string shown(const boost::json::value& value) { return shown(boost::json::serialize(value)); }

Refusal invalid(std::string_view field, std::string value, std::string rule) {
    return {Refused::invalid, std::string{field}, std::move(value), std::move(rule)};
}

Answer<boost::json::object> parse_object(std::string_view body, std::initializer_list<std::string_view> fields) {
    boost::system::error_code failed;
    auto value = boost::json::parse(body, failed);
    if (failed) return Refusal{Refused::malformed, "body", "", "is JSON: " + failed.message()};
    if (!value.is_object()) return Refusal{Refused::malformed, "body", shown(value), "is a JSON object"};
    for (const auto& member : value.get_object()) {
        const std::string_view name{member.key()};
        if (std::find(fields.begin(), fields.end(), name) == fields.end()) {
            return invalid(shown(name), shown(member.value()), "is not a field of this request");
        }
    }
    return std::move(value.get_object());
}

Answer<std::string> name_in(const boost::json::object& object, std::string_view field) {
    const std::string rule = "is a text of 1 to " + std::to_string(limit::name_max) + " letters, digits, '-' or '_'";
    const auto* value = object.if_contains(field);
    if (value == nullptr) return invalid(field, "", rule);
    if (!value->is_string() || !is_name(value->get_string())) return invalid(field, shown(*value), rule);
    return std::string{value->get_string()};
}

Answer<std::int64_t> integer_in(const boost::json::object& object, std::string_view field, std::int64_t min,
                                std::int64_t max) {
    const std::string rule = "is an integer from " + std::to_string(min) + " to " + std::to_string(max);
    const auto* value = object.if_contains(field);
    if (value == nullptr) return invalid(field, "", rule);
    // What does not fit 64 bits arrives as another kind of number and is refused with the rest.
    if (!value->is_int64() || value->get_int64() < min || value->get_int64() > max)
        return invalid(field, shown(*value), rule);
    return value->get_int64();
}

std::string_view to_string(Refused kind) {
    switch (kind) {
        case Refused::malformed: return "malformed";
        case Refused::invalid: return "invalid";
        case Refused::unknown: return "unknown";
        case Refused::conflict: return "conflict";
        case Refused::different_payload: return "different_payload";
    }
    return "?";
}

boost::json::object fields_of(const NewOrder& order) {
    return {{"id", order.id}, {"amount", order.amount}, {"sku", order.sku}, {"quantity", order.quantity}};
}

}  // namespace

bool is_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= limit::name_max && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
}

Answer<NewOrder> parse_new_order(std::string_view body) {
    const auto object = parse_object(body, {"id", "amount", "sku", "quantity"});
    if (!object) return object.error();
    const auto id = name_in(*object, "id");
    if (!id) return id.error();
    const auto amount = integer_in(*object, "amount", 1, limit::amount_max);
    if (!amount) return amount.error();
    const auto sku = name_in(*object, "sku");
    if (!sku) return sku.error();
    const auto quantity = integer_in(*object, "quantity", 1, limit::quantity_max);
    if (!quantity) return quantity.error();
    return NewOrder{*id, *amount, *sku, *quantity};
}

Answer<std::int64_t> parse_stock_level(std::string_view body) {
    const auto object = parse_object(body, {"quantity"});
    if (!object) return object.error();
    return integer_in(*object, "quantity", 0, limit::amount_max);
}

std::string to_json(const Order& order) {
    auto object = fields_of(order.ordered);
    object["state"] = to_string(order.state);
    object["version"] = order.version;
    return boost::json::serialize(object);
}

std::string to_json(const Refusal& refusal) {
    const boost::json::object error{
        {"kind", to_string(refusal.kind)}, {"field", refusal.field}, {"value", refusal.value}, {"rule", refusal.rule}};
    return boost::json::serialize(boost::json::object{{"error", error}});
}

std::string payload_hash(const NewOrder& order) {
    const boost::uuids::name_generator_sha1 hash{boost::uuids::ns::oid()};
    return boost::uuids::to_string(hash(boost::json::serialize(fields_of(order))));
}

}  // namespace shop
