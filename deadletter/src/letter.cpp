#include <hufu/deadletter/letter.hpp>

#include <algorithm>
#include <charconv>

#include <hufu/core/subscription.hpp>

namespace hufu::deadletter {
namespace {

std::uint32_t number_in(const Headers& headers, std::string_view name) {
    std::uint32_t number = 0;
    if (const auto text = headers.get(name)) {
        std::from_chars(text->data(), text->data() + text->size(), number);
    }
    return number;
}

}  // namespace

bool is_dead_letter_topic(std::string_view topic) noexcept { return topic.starts_with("%DLQ%") && topic.size() > 5; }

DeadLetter letter_of(ReadMessage read) {
    DeadLetter letter;
    letter.place = std::move(read.place);
    letter.dead_at = read.stored_at;
    const Headers& headers = read.message.headers;
    letter.origin_topic = headers.get(header::dead_topic).value_or(read.origin_topic);
    letter.attempts = std::max(number_in(headers, header::attempts), read.broker_attempts);
    letter.redrives = number_in(headers, redrives_header);
    if (const auto reason = headers.get(header::dead_reason)) {
        letter.reason = *reason;
    } else if (read.broker_attempts > 0) {
        letter.reason = "delivered " + std::to_string(read.broker_attempts) + " times without success; no reason was noted";
    } else {
        letter.reason = "no reason was noted";
    }
    letter.message = std::move(read.message);
    return letter;
}

Message redriven(const DeadLetter& letter, const std::string& topic) {
    Message message = letter.message;
    message.topic = topic.empty() ? letter.origin_topic : topic;
    message.deliver_at.reset();
    for (const auto name : {header::dead_reason, header::dead_topic, header::attempts}) {
        message.headers.remove(name);
    }
    keep_first_stored_at(message, letter.dead_at);
    message.headers.set(redrives_header, std::to_string(letter.redrives + 1));
    return message;
}

bool Filter::fits(const DeadLetter& letter) const {
    const auto& keys = letter.message.keys;
    return (reason_part.empty() || letter.reason.find(reason_part) != std::string::npos) &&
           (key.empty() || letter.message.ordering_key == key || std::find(keys.begin(), keys.end(), key) != keys.end()) &&
           (origin_topic.empty() || letter.origin_topic == origin_topic) &&
           (id.empty() || letter.message.id.to_string() == id) && (!dead_since || letter.dead_at >= *dead_since) &&
           (!dead_until || letter.dead_at < *dead_until);
}

}  // namespace hufu::deadletter
