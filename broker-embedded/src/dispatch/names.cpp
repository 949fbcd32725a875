#include "names.hpp"

#include <algorithm>

namespace hufu::broker {
namespace {

bool allowed(char character) noexcept {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_' || character == '-' || character == '%' ||
           character == '|';
}

/// Names come from the wire and go into remarks and logs: no control characters, bounded length.
std::string printable(std::string_view text) {
    std::string shown{text.substr(0, 140)};
    std::replace_if(
        shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    return shown;
}

std::string fault(std::string_view kind, std::string_view name, std::size_t length_max) {
    if (name.empty()) return std::string{kind} + " name is empty";
    if (name.size() > length_max)
        return std::string{kind} + " \"" + printable(name) + "\" is " + std::to_string(name.size()) +
               " bytes long; at most " + std::to_string(length_max) + " are allowed";
    if (!std::all_of(name.begin(), name.end(), allowed))
        return std::string{kind} + " \"" + printable(name) + "\" has a character outside [%|a-zA-Z0-9_-]";
    return {};
}

}  // namespace

std::string retry_topic_of(std::string_view group) { return std::string{retry_prefix}.append(group); }

std::string dead_letter_topic_of(std::string_view group) { return std::string{dead_letter_prefix}.append(group); }

std::string host_text(const remoting::Host& host) {
    std::string text;
    for (const std::uint8_t part : host.ip) text.append(text.empty() ? "" : ".").append(std::to_string(part));
    return text.append(1, ':').append(std::to_string(host.port));
}

std::string topic_name_fault(std::string_view topic) {
    const bool derived = is_retry_topic(topic) || is_dead_letter_topic(topic);
    if (topic.starts_with(own_prefix)) return "topic \"" + printable(topic) + "\" is the broker's own; choose another name";
    return fault("topic", topic, derived ? derived_topic_length_max : topic_length_max);
}

std::string group_name_fault(std::string_view group) { return fault("group", group, group_length_max); }

}  // namespace hufu::broker
