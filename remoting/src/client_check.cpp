#include <hufu/remoting/client_check.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {

using namespace json_fields;

Result<ClientCheck> ClientCheck::parse(std::string_view text) {
    const auto object = parse_object(text, "client check");
    if (!object) {
        return object.error();
    }
    ClientCheck check{text_of(*object, "clientId"), text_of(*object, "group"), {}};
    if (const json::value* given = object->if_contains("subscriptionData"); given != nullptr && given->is_object()) {
        const json::object& subscription = given->get_object();
        check.subscription =
            SubscriptionData{text_of(subscription, "topic"), text_of(subscription, "subString", "*"),
                             number_of(subscription, "subVersion"), text_of(subscription, "expressionType", "TAG")};
    }
    return check;
}

std::string ClientCheck::to_json() const {
    json::object object{{"clientId", client_id}, {"group", group}};
    if (subscription) {
        object["subscriptionData"] = json::object{{"topic", subscription->topic},
                                                  {"subString", subscription->expression},
                                                  {"subVersion", subscription->version},
                                                  {"expressionType", subscription->expression_type}};
    }
    return json::serialize(object);
}

}  // namespace hufu::remoting
