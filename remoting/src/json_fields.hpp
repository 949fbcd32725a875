// Tolerant reading of JSON bodies: numbers as strings and the reverse, absent members, unquoted numeric keys.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include <hufu/core/error.hpp>

namespace hufu::remoting::json_fields {

namespace json = boost::json;

inline Error broken(std::string text) { return Error{ErrorCode::protocol, Disposition::reject, std::move(text)}; }

inline bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Real name servers write numeric map keys without quotes ({0:"10.0.0.1:10911"}); this quotes them.
inline std::string quote_numeric_keys(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 16);
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        out.push_back(c);
        if (in_string) {
            if (c == '\\' && i + 1 < text.size()) {
                out.push_back(text[++i]);
            } else if (c == '"') {
                in_string = false;
            }
            continue;
        }
        if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == ',') {
            std::size_t end = i + 1;
            while (end < text.size() && is_digit(text[end])) {
                ++end;
            }
            if (end > i + 1 && end < text.size() && text[end] == ':') {
                out.push_back('"');
                out.append(text, i + 1, end - i - 1);
                out.push_back('"');
                i = end - 1;
            }
        }
    }
    return out;
}

inline Result<json::object> parse_object(std::string_view text, std::string_view what) {
    json::error_code error;
    json::parse_options options;
    options.max_depth = 16;
    json::value value = json::parse(quote_numeric_keys(text), error, {}, options);
    if (error || !value.is_object()) {
        return broken(std::string{what} + ": the body is no JSON object" + (error ? " (" + error.message() + ")" : ""));
    }
    return std::move(value.get_object());
}

inline std::string text_of(const json::object& object, std::string_view name, std::string_view otherwise = {}) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || value->is_null()) {
        return std::string{otherwise};
    }
    if (const auto* text = value->if_string()) {
        return std::string{text->data(), text->size()};
    }
    return json::serialize(*value);
}

inline std::int64_t number_of(const json::object& object, std::string_view name, std::int64_t otherwise = 0) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr) {
        return otherwise;
    }
    if (const auto* number = value->if_int64()) {
        return *number;
    }
    if (const auto* text = value->if_string()) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
        return error == std::errc{} && end == text->data() + text->size() ? number : otherwise;
    }
    return otherwise;
}

inline std::int32_t number32_of(const json::object& object, std::string_view name, std::int32_t otherwise = 0) {
    const std::int64_t number = number_of(object, name, otherwise);
    return number >= std::numeric_limits<std::int32_t>::min() && number <= std::numeric_limits<std::int32_t>::max()
               ? static_cast<std::int32_t>(number)
               : otherwise;
}

/// Calls `each` for every object in the array called `name`; absent or null is an empty array.
template <class Each>
void for_each_object(const json::object& object, std::string_view name, Each each) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || !value->is_array()) {
        return;
    }
    for (const json::value& element : value->get_array()) {
        if (element.is_object()) {
            each(element.get_object());
        }
    }
}

/// Enums travel as names (Java, Go) or ordinals (C++).
template <class Enum, std::size_t Count>
Enum enum_of(const json::object& object, std::string_view key, const std::array<std::string_view, Count>& names,
             Enum otherwise) {
    const std::string text = text_of(object, key);
    for (std::size_t i = 0; i < Count; ++i) {
        if (names[i] == text || std::to_string(i) == text) {
            return static_cast<Enum>(i);
        }
    }
    return otherwise;
}

inline bool flag_of(const json::object& object, std::string_view name, bool otherwise) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || value->is_null()) {
        return otherwise;
    }
    if (const auto* flag = value->if_bool()) {
        return *flag;
    }
    const std::string text = text_of(object, name);
    return text == "true" || (text != "false" && otherwise);
}

}  // namespace hufu::remoting::json_fields
