// The broker's settings: 26 shows them, 25 changes those that may change while it runs.
#include <algorithm>
#include <charconv>

#include <hufu/remoting/record.hpp>

#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view key_prefix = "setting/";
constexpr std::size_t body_bytes_max = 64U << 10U;
constexpr std::int32_t default_queues_max = 1024;

struct Setting {
    std::string_view name;  ///< RocketMQ's
    std::string (*get)(const DispatcherOptions&);
    /// What is wrong with the value; empty: it was set. Null: cannot be changed.
    std::string (*set)(DispatcherOptions&, std::string_view);
};

std::string text_of(bool value) { return value ? "true" : "false"; }

std::string set_flag(bool& into, std::string_view value) {
    if (value != "true" && value != "false") return "must be true or false";
    into = value == "true";
    return {};
}

std::string set_default_queues(DispatcherOptions& options, std::string_view value) {
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size() || number < 1 || number > default_queues_max)
        return "must be a number from 1 to " + std::to_string(default_queues_max);
    options.default_queues = number;
    return {};
}

std::string set_permission(DispatcherOptions& options, std::string_view value) {
    if (value != "6" && value != "4") return "must be 6 (read and write) or 4 (read only)";
    options.writable = value == "6";
    return {};
}

std::string set_flush(DispatcherOptions& options, std::string_view value) {
    if (value != "SYNC_FLUSH" && value != "ASYNC_FLUSH") return "must be SYNC_FLUSH or ASYNC_FLUSH";
    options.answer_before_durable = value == "ASYNC_FLUSH";
    return {};
}

constexpr Setting settings[] = {
    {"brokerName", [](const DispatcherOptions& options) { return options.broker_name; }, nullptr},
    {"brokerClusterName", [](const DispatcherOptions& options) { return options.cluster; }, nullptr},
    {"brokerId", [](const DispatcherOptions&) { return std::string{"0"}; }, nullptr},
    {"brokerRole", [](const DispatcherOptions&) { return std::string{"ASYNC_MASTER"}; }, nullptr},
    {"listenPort", [](const DispatcherOptions& options) { return std::to_string(options.advertised.port); }, nullptr},
    {"namesrvAddr", [](const DispatcherOptions& options) { return address_text(options.advertised); }, nullptr},
    {"maxMessageSize", [](const DispatcherOptions&) { return std::to_string(remoting::body_bytes_max); }, nullptr},
    {"enablePropertyFilter", [](const DispatcherOptions&) { return text_of(true); }, nullptr},
    {"autoCreateTopicEnable", [](const DispatcherOptions& options) { return text_of(options.auto_create_topics); },
     [](DispatcherOptions& options, std::string_view value) { return set_flag(options.auto_create_topics, value); }},
    {"defaultTopicQueueNums", [](const DispatcherOptions& options) { return std::to_string(options.default_queues); },
     set_default_queues},
    {"brokerPermission", [](const DispatcherOptions& options) { return std::string{options.writable ? "6" : "4"}; },
     set_permission},
    {"flushDiskType",
     [](const DispatcherOptions& options) {
         return std::string{options.answer_before_durable ? "ASYNC_FLUSH" : "SYNC_FLUSH"};
     },
     set_flush},
    {"enableMixedMessageType", [](const DispatcherOptions& options) { return text_of(options.mixed_message_type); },
     [](DispatcherOptions& options, std::string_view value) { return set_flag(options.mixed_message_type, value); }},
};

const Setting* find_setting(std::string_view name) {
    const auto found =
        std::find_if(std::begin(settings), std::end(settings), [&](const Setting& setting) { return setting.name == name; });
    return found == std::end(settings) ? nullptr : found;
}

std::string changeable_names() {
    std::string names;
    for (const Setting& setting : settings)
        if (setting.set != nullptr) names.append(names.empty() ? "" : ", ").append(setting.name);
    return names;
}

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\r' || c == '\t'; };
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    return text;
}

/// Reads "name=value" lines into `changes` and tries them on `options`; what is wrong, or nothing.
std::string try_changes(std::string_view body, DispatcherOptions& options,
                        std::vector<std::pair<std::string, std::string>>& changes) {
    while (!body.empty()) {
        const auto end = body.find('\n');
        const std::string_view line = trimmed(body.substr(0, end));
        body = end == std::string_view::npos ? std::string_view{} : body.substr(end + 1);
        if (line.empty() || line.front() == '#') continue;
        const auto equals = line.find('=');
        const std::string_view name = trimmed(line.substr(0, equals));
        const std::string shown{name.substr(0, 60)};
        if (equals == std::string_view::npos) return "\"" + shown + "\" has no value; write name=value";
        const std::string_view value = trimmed(line.substr(equals + 1));
        const Setting* setting = find_setting(name);
        if (setting == nullptr || setting->set == nullptr)
            return "setting \"" + shown + "\" " +
                   (setting == nullptr ? "is unknown to this broker" : "cannot be changed while the broker runs") +
                   "; these can: " + changeable_names();
        if (const std::string fault = setting->set(options, value); !fault.empty())
            return "setting " + shown + "=\"" + std::string{value.substr(0, 60)} + "\" " + fault;
        changes.emplace_back(name, value);
    }
    return {};
}

}  // namespace

static void handle_get_config(DispatchState& state, const Request& request) {
    std::string text;
    for (const Setting& setting : settings) text.append(setting.name).append("=").append(setting.get(state.options)) += '\n';
    struct Version {
        void write(remoting::CommandWriter& writer) const {
            writer.field("version", R"({"counter":0,"stateVersion":0,"timestamp":0})");
        }
    };
    state.answer(request, ResponseCode::success, Version{}, text);
}

static void handle_update_config(DispatchState& state, const Request& request) {
    const std::string_view body = request.command.body;
    if (body.size() > body_bytes_max)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "the body has " + std::to_string(body.size()) + " bytes; at most " +
                                std::to_string(body_bytes_max) + " are allowed");
    DispatcherOptions changed = state.options;
    std::vector<std::pair<std::string, std::string>> changes;
    if (const std::string fault = try_changes(body, changed, changes); !fault.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, fault);
    for (const auto& [name, value] : changes) {
        const auto put = state.log.put_state(std::string{key_prefix}.append(name), value);
        if (!put) return state.refuse(request, refusal_of(put.error()));
        state.changed_at = *put;
        find_setting(name)->set(state.options, value);
    }
    state.succeed_when_durable(request);
}

void load_broker_config(DispatchState& state) {
    state.log.for_each_state(key_prefix, [&](std::string_view key, std::string_view value) {
        const Setting* setting = find_setting(key.substr(key_prefix.size()));
        if (setting == nullptr || setting->set == nullptr) return;
        const std::string given = setting->get(state.options);
        if (!setting->set(state.options, value).empty() || given == value) return;
        state.alarm("setting " + std::string{setting->name} + "=" + std::string{value} +
                    ", made by an administrator (UPDATE_BROKER_CONFIG), goes before " + given +
                    " of this start; change it back the same way");
    });
}

void add_broker_config_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_broker_config, handle_get_config);
    table.add(RequestCode::update_broker_config, handle_update_config);
}

}  // namespace hufu::broker
