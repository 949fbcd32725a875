// A topic's numbers and attributes: reading, writing, checking. No broker in here.
#include "topics.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "store.hpp"

namespace hufu::broker {
namespace {

constexpr std::array<std::string_view, 6> type_names{"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"};
constexpr std::size_t change_bytes_max = 4096;

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
    return error == std::errc{} && end == text.data() + text.size();
}

/// Cuts the next word off the front of `text`.
std::string_view next_word(std::string_view& text, char separator) {
    const auto end = text.find(separator);
    const std::string_view word = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return word;
}

Error refuse(std::string text) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "topic attributes: " + std::move(text)};
}

/// Names and values come from the wire: bounded, without control characters.
std::string quoted(std::string_view text) {
    std::string shown{text.substr(0, 60)};
    std::replace_if(
        shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f || c == '"'; }, '?');
    return '"' + shown + '"';
}

struct Rule {
    std::string_view name;
    bool changeable;
    std::string_view values;  ///< separated by spaces; empty: a number of at least -1
};

constexpr std::array<Rule, 9> rules{{
    {attribute::message_type, true, "NORMAL FIFO DELAY TRANSACTION UNSPECIFIED MIXED"},
    {attribute::queue_type, false, "SimpleCQ"},
    {attribute::cleanup_policy, false, "DELETE"},
    {attribute::reserve_time, true, ""},
    {attribute::flush_type, true, "sync async"},
    {attribute::first_check_ms, true, ""},
    {attribute::check_interval_ms, true, ""},
    {attribute::check_interval_max_ms, true, ""},
    {attribute::transaction_budget_ms, true, ""},
}};

Result<void> check_value(const Rule& rule, std::string_view value, bool mixed_allowed) {
    if (rule.values.empty()) {
        std::int64_t number = 0;
        if (read_number(value, number) && number >= -1) return {};
        return refuse(std::string{rule.name} + "=" + quoted(value) + " must be a number of at least -1");
    }
    for (std::string_view rest = rule.values; !rest.empty();)
        if (next_word(rest, ' ') == value) {
            if (value == "MIXED" && !mixed_allowed)
                return refuse(
                    "message.type=MIXED is not allowed on this broker; name one kind of message, or set the broker's "
                    "enableMixedMessageType");
            return {};
        }
    return refuse(std::string{rule.name} + "=" + quoted(value) +
                  " is not offered; choose one of: " + std::string{rule.values});
}

}  // namespace

std::string_view to_string(MessageType type) noexcept { return type_names[static_cast<std::size_t>(type)]; }

MessageType TopicConfig::message_type() const noexcept {
    const auto found = attributes.find(attribute::message_type);
    if (found == attributes.end()) return MessageType::unspecified;
    const auto name = std::find(type_names.begin(), type_names.end(), found->second);
    return name == type_names.end() ? MessageType::unspecified : static_cast<MessageType>(name - type_names.begin());
}

std::optional<bool> TopicConfig::flush_sync() const noexcept {
    const auto found = attributes.find(attribute::flush_type);
    if (found == attributes.end()) return std::nullopt;
    return found->second != "async";
}

std::string TopicConfig::fault(std::string_view name) const {
    const auto wrong = [&](std::string_view what, std::int32_t value, std::string_view rule) {
        return "topic \"" + std::string{name} + "\": " + std::string{what} + " " + std::to_string(value) + std::string{rule};
    };
    if (read_queues < 1 || read_queues > topic_queues_max)
        return wrong("readQueueNums", read_queues, " must be from 1 to " + std::to_string(topic_queues_max));
    if (write_queues < 1 || write_queues > topic_queues_max)
        return wrong("writeQueueNums", write_queues, " must be from 1 to " + std::to_string(topic_queues_max));
    if (perm < 0 || perm > 7) return wrong("perm", perm, " must be the sum of 4 (read), 2 (write) and 1 (inherit)");
    return {};
}

std::string TopicConfig::to_text() const {
    std::string text = std::to_string(read_queues) + " " + std::to_string(write_queues) + " " + std::to_string(perm) +
                       (order ? " 1 " : " 0 ") + std::to_string(sys_flag);
    for (const auto& [name, value] : attributes) text.append(1, ' ').append(name).append(1, '=').append(value);
    return text;
}

std::optional<TopicConfig> TopicConfig::parse(std::string_view text) {
    TopicConfig config;
    const bool old_form = std::count(text.begin(), text.end(), ' ') == 1;
    if (!read_number(next_word(text, ' '), config.read_queues)) return std::nullopt;
    config.write_queues = config.read_queues;
    if (old_form) {
        if (!read_number(text, config.perm)) return std::nullopt;
    } else {
        std::int32_t order = 0;
        if (!read_number(next_word(text, ' '), config.write_queues) || !read_number(next_word(text, ' '), config.perm) ||
            !read_number(next_word(text, ' '), order) || !read_number(next_word(text, ' '), config.sys_flag))
            return std::nullopt;
        config.order = order != 0;
        while (!text.empty()) {
            std::string_view value = next_word(text, ' ');
            const std::string_view name = next_word(value, '=');
            config.attributes.emplace(name, value);
        }
    }
    if (!config.fault("").empty()) return std::nullopt;
    return config;
}

Result<void> change_attributes(Attributes& attributes, std::string_view change, bool creating, bool mixed_allowed) {
    if (change.size() > change_bytes_max)
        return refuse("the change has " + std::to_string(change.size()) + " bytes; at most " +
                      std::to_string(change_bytes_max) + " are allowed");
    Attributes changed = attributes;
    std::set<std::string_view> seen;
    while (!change.empty()) {
        std::string_view value = next_word(change, ',');
        const bool adds = value.starts_with('+');
        if (!adds && !value.starts_with('-')) return refuse(quoted(value) + " must be +key=value or -key");
        const std::string_view name = next_word(value, '=').substr(1);
        const auto rule = std::find_if(rules.begin(), rules.end(), [&](const Rule& known) { return known.name == name; });
        if (rule == rules.end())
            return refuse(quoted(name) +
                          " is unknown; there are message.type, queue.type, cleanup.policy, reserve.time, flush.type, "
                          "transaction.first.check.ms, transaction.check.interval.ms, transaction.check.interval.max.ms and "
                          "transaction.budget.ms");
        if (!seen.insert(name).second) return refuse(quoted(name) + " is named twice");
        const auto current = attributes.find(name);
        if (!adds) {
            if (creating || current == attributes.end())
                return refuse(quoted(name) + " is not set, so it cannot be removed");
            if (!rule->changeable) return refuse(quoted(name) + " cannot be changed once the topic exists");
            changed.erase(std::string{name});
            continue;
        }
        if (auto checked = check_value(*rule, value, mixed_allowed); !checked) return checked;
        const bool same = current != attributes.end() && current->second == value;
        if (!creating && !rule->changeable && !same)
            return refuse(quoted(name) + " cannot be changed once the topic exists");
        changed.insert_or_assign(std::string{name}, std::string{value});
    }
    attributes = std::move(changed);
    return {};
}

MessageType message_type_of(const Traits& traits) noexcept {
    if (traits.prepared) return MessageType::transaction;
    const bool leveled = !traits.delay_level.empty() && traits.delay_level != "0";
    if (leveled || !traits.timer_delay_s.empty() || !traits.timer_delay_ms.empty() || !traits.timer_deliver_ms.empty())
        return MessageType::delay;
    return traits.keyed ? MessageType::fifo : MessageType::normal;
}

std::string type_fault(const Topic& topic, MessageType type) {
    if (topic.type == MessageType::unspecified || topic.type == MessageType::mixed || topic.type == type) return {};
    std::string text = "topic \"" + topic.name + "\" is " + std::string{to_string(topic.type)} + ": ";
    switch (topic.type) {
        case MessageType::fifo:
            if (type == MessageType::normal) return text + "a message needs an ordering key (property __SHARDINGKEY)";
            break;
        case MessageType::delay:
            if (type == MessageType::normal)
                return text +
                       "a message needs a delay (property DELAY, TIMER_DELAY_SEC, TIMER_DELAY_MS or TIMER_DELIVER_MS)";
            break;
        case MessageType::transaction:
            if (type == MessageType::normal) return text + "a message needs a transaction (property TRAN_MSG)";
            break;
        default: break;
    }
    return text + "it takes no " + std::string{to_string(type)} + " message; send it to a topic of that type";
}

}  // namespace hufu::broker
