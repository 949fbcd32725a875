#include <hufu/remoting/runtime_bodies.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {

using namespace json_fields;

Result<std::map<std::string, std::string>> parse_name_values(std::string_view text) {
    auto object = parse_object(text, "table of names and values");
    if (!object) return object.error();
    std::map<std::string, std::string> values;
    const json::value* const table = object->if_contains("table");
    if (table == nullptr || !table->is_object()) return values;
    for (const auto& [name, value] : table->get_object()) {
        values.emplace(std::string{name.data(), name.size()},
                       value.is_string() ? std::string{value.get_string()} : json::serialize(value));
    }
    return values;
}

}  // namespace hufu::remoting
