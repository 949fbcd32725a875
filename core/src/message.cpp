#include <hufu/core/message.hpp>

#include <algorithm>

namespace hufu {
namespace {

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

bool is_topic_character(char character) noexcept {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_' || character == '-' || character == '%' ||
           character == '|';
}

/// 0x01 and 0x02 separate properties on the wire.
bool has_separator(std::string_view text) noexcept { return text.find_first_of("\x01\x02") != std::string_view::npos; }

constexpr std::size_t topic_max = 127;
constexpr std::size_t ordering_key_max = 255;

}  // namespace

void Headers::set(std::string_view name, std::string_view value) {
    for (auto& [known, held] : entries_) {
        if (known == name) {
            held = value;
            return;
        }
    }
    entries_.emplace_back(name, value);
}

std::optional<std::string_view> Headers::get(std::string_view name) const noexcept {
    for (const auto& [known, held] : entries_) {
        if (known == name) return held;
    }
    return std::nullopt;
}

void Headers::remove(std::string_view name) {
    std::erase_if(entries_, [name](const Entry& entry) { return entry.first == name; });
}

Result<void> validate(const Message& message) {
    if (message.topic.empty()) return refuse("message has no topic: set Message::topic");
    if (message.topic.size() > topic_max) {
        return refuse("topic \"" + message.topic.substr(0, 40) + "…\" has " + std::to_string(message.topic.size()) +
                      " characters: at most " + std::to_string(topic_max) + " are allowed");
    }
    if (!std::all_of(message.topic.begin(), message.topic.end(), is_topic_character)) {
        return refuse("topic \"" + message.topic + "\" has a character outside %|a-zA-Z0-9_-: rename the topic");
    }
    if (message.tag.find("||") != std::string::npos || has_separator(message.tag)) {
        return refuse("tag \"" + message.tag + "\" of topic \"" + message.topic +
                      "\" contains \"||\" or a control character: these separate tags in subscriptions");
    }
    for (const auto& key : message.keys) {
        if (key.empty() || key.find(' ') != std::string::npos || has_separator(key)) {
            return refuse("key \"" + key + "\" of topic \"" + message.topic +
                          "\" is empty or contains a space or control character: keys are joined by spaces");
        }
    }
    if (message.ordering_key.size() > ordering_key_max || has_separator(message.ordering_key)) {
        return refuse("ordering key \"" + message.ordering_key.substr(0, 40) + "\" of topic \"" + message.topic +
                      "\" is longer than " + std::to_string(ordering_key_max) + " bytes or contains a control character");
    }
    for (const auto& [name, value] : message.headers) {
        if (name.empty() || has_separator(name) || has_separator(value)) {
            return refuse("header \"" + name + "\" of topic \"" + message.topic +
                          "\" has no name or contains the control characters 1 or 2");
        }
    }
    return {};
}

}  // namespace hufu
