// Configurations of consumer groups, and the commands that read and change them: 200, 201, 207, 225, 352.
#include "group_configs.hpp"

#include <algorithm>

#include "group_handlers.hpp"
#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

using remoting::GroupConfig;

constexpr std::string_view key_prefix = "group/";
constexpr std::size_t body_bytes_max = 4U << 20U;
constexpr std::int32_t retry_queues_max = 1024;
constexpr std::size_t attributes_max = 64;
constexpr std::size_t text_bytes_max = 4096;  // of a retry policy or an attribute

/// Groups of the tools and of the system itself: there whatever the options say.
bool is_system_group(std::string_view name) noexcept {
    return name == "TOOLS_CONSUMER" || name == "SELF_TEST_C_GROUP" || name == "FILTERSRV_CONSUMER" ||
           name.starts_with("CID_RMQ_SYS_") || name.starts_with("CID_SYS_RMQ_");
}

std::string fault_of(const GroupConfig& config) {
    if (std::string fault = group_name_fault(config.name); !fault.empty()) return fault;
    const std::string group = "group \"" + config.name + "\": ";
    if (config.retry_queues < 0 || config.retry_queues > retry_queues_max)
        return group + "retryQueueNums is " + std::to_string(config.retry_queues) + "; it must be from 0 to " +
               std::to_string(retry_queues_max);
    if (config.retry_times_max < 0)
        return group + "retryMaxTimes is " + std::to_string(config.retry_times_max) + "; it must not be negative";
    if (config.retry_policy_json.size() > text_bytes_max)
        return group + "the groupRetryPolicy has " + std::to_string(config.retry_policy_json.size()) + " bytes; at most " +
               std::to_string(text_bytes_max) + " are allowed";
    if (config.attributes.size() > attributes_max)
        return group + "there are " + std::to_string(config.attributes.size()) + " attributes; at most " +
               std::to_string(attributes_max) + " are allowed";
    for (const auto& [name, value] : config.attributes)
        if (name.size() + value.size() > text_bytes_max) return group + "an attribute is too long";
    return {};
}

/// What comes in are changes ("+name": set, "-name": remove); a plain name sets as well.
void apply_attributes(std::map<std::string, std::string>& attributes, const std::map<std::string, std::string>& changes) {
    for (const auto& [name, value] : changes) {
        if (name.starts_with('-')) {
            attributes.erase(name.substr(1));
        } else {
            attributes.insert_or_assign(name.starts_with('+') ? name.substr(1) : name, value);
        }
    }
}

Refusal store_config(DispatchState& state, GroupConfig config) {
    GroupConfigs& configs = state.group_configs;
    const bool fresh = !configs.groups.contains(config.name);
    if (fresh && configs.groups.size() >= state.options.groups_max)
        return {ResponseCode::system_busy, "group \"" + config.name + "\" was not created: the broker has " +
                                               std::to_string(state.options.groups_max) + " groups already"};
    const auto put = state.log.put_state(std::string{key_prefix}.append(config.name), config.to_json());
    if (!put) return refusal_of(put.error());
    state.changed_at = *put;
    ++configs.changes;
    configs.changed_at_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(state.clock.system_now().time_since_epoch()).count();
    std::string name = config.name;
    configs.groups.insert_or_assign(std::move(name), std::move(config));
    return {};
}

Topic* topic_of_group(DispatchState& state, const std::string& name, std::int32_t queues, Refusal& refusal) {
    if (Topic* topic = state.find_topic(name); topic != nullptr) return topic;
    auto made = state.create_topic(name, queues);
    if (made) return *made;
    refusal = refusal_of(made.error());
    return nullptr;
}

template <class Body>
bool parse_body(DispatchState& state, const Request& request, Body& into) {
    if (request.command.body.size() > body_bytes_max) {
        state.refuse(request, ResponseCode::invalid_parameter,
                     "the body has " + std::to_string(request.command.body.size()) + " bytes; at most " +
                         std::to_string(body_bytes_max) + " are allowed here");
        return false;
    }
    auto parsed = Body::parse(request.command.body);
    if (!parsed) {
        state.refuse(request, ResponseCode::invalid_parameter, parsed.error().text());
        return false;
    }
    into = std::move(*parsed);
    return true;
}

}  // namespace

const GroupConfig* find_group_config(const DispatchState& state, std::string_view name) {
    const auto config = state.group_configs.groups.find(name);
    return config == state.group_configs.groups.end() ? nullptr : &config->second;
}

const GroupConfig* require_group(DispatchState& state, std::string_view name, Refusal& refusal) {
    if (const GroupConfig* config = find_group_config(state, name); config != nullptr) return config;
    if (std::string fault = group_name_fault(name); !fault.empty()) {
        refusal = {ResponseCode::invalid_parameter, std::move(fault)};
        return nullptr;
    }
    if (!state.options.auto_create_groups && !is_system_group(name)) {
        refusal = {ResponseCode::subscription_group_not_exist,
                   "subscription group \"" + std::string{name} +
                       "\" does not exist and automatic creation is off; create it (mqadmin updateSubGroup), or start the "
                       "broker with --auto-create-groups on"};
        return nullptr;
    }
    GroupConfig config;
    config.name = name;
    refusal = store_config(state, std::move(config));
    return refusal.refused() ? nullptr : find_group_config(state, name);
}

const GroupConfig* group_to_read_with(DispatchState& state, std::string_view name, Refusal& refusal) {
    const GroupConfig* config = require_group(state, name, refusal);
    const bool not_stored =
        refusal.code == ResponseCode::service_not_available && state.log.refusing() && group_name_fault(name).empty();
    if (config != nullptr || !not_stored) return config;
    refusal = {};
    return &state.group_configs.defaults;
}

Refusal put_group_config(DispatchState& state, GroupConfig config) {
    std::map<std::string, std::string> changes = std::exchange(config.attributes, {});
    if (const GroupConfig* known = find_group_config(state, config.name); known != nullptr)
        config.attributes = known->attributes;
    apply_attributes(config.attributes, changes);
    if (std::string fault = fault_of(config); !fault.empty()) return {ResponseCode::invalid_parameter, std::move(fault)};
    return store_config(state, std::move(config));
}

Refusal erase_group_config(DispatchState& state, std::string_view name) {
    const auto config = state.group_configs.groups.find(name);
    if (config == state.group_configs.groups.end()) return {};
    const auto erased = state.log.erase_state(std::string{key_prefix}.append(name));
    if (!erased) return refusal_of(erased.error());
    state.changed_at = *erased;
    ++state.group_configs.changes;
    state.group_configs.groups.erase(config);
    return {};
}

Topic* retry_topic(DispatchState& state, const GroupConfig& config, Refusal& refusal) {
    return topic_of_group(state, retry_topic_of(config.name), std::max(config.retry_queues, 1), refusal);
}

Topic* dead_letter_topic(DispatchState& state, std::string_view group, Refusal& refusal) {
    return topic_of_group(state, dead_letter_topic_of(group), 1, refusal);
}

void load_group_configs(DispatchState& state) {
    state.log.for_each_state(key_prefix, [&](std::string_view key, std::string_view value) {
        auto config = GroupConfig::parse(value);
        if (!config || config->name != key.substr(key_prefix.size())) {
            state.alarm("the stored group \"" + std::string{key} + "\" cannot be read and was passed over");
            return;
        }
        std::string name = config->name;
        state.group_configs.groups.insert_or_assign(std::move(name), std::move(*config));
    });
}

static void handle_update_group(DispatchState& state, const Request& request) {
    GroupConfig config;
    if (!parse_body(state, request, config)) return;
    if (const Refusal refusal = put_group_config(state, std::move(config)); refusal.refused())
        return state.refuse(request, refusal.code, refusal.remark);
    state.succeed_when_durable(request);
}

static void handle_update_groups(DispatchState& state, const Request& request) {
    remoting::GroupConfigList list;
    if (!parse_body(state, request, list)) return;
    // Everything is looked at before anything is stored.
    for (const GroupConfig& config : list.groups)
        if (std::string fault = fault_of(config); !fault.empty())
            return state.refuse(request, ResponseCode::invalid_parameter, fault);
    for (GroupConfig& config : list.groups)
        if (const Refusal refusal = put_group_config(state, std::move(config)); refusal.refused())
            return state.refuse(request, refusal.code, refusal.remark);
    state.succeed_when_durable(request);
}

static void handle_list_groups(DispatchState& state, const Request& request) {
    remoting::GroupConfigTable table;
    table.version_counter = state.group_configs.changes;
    table.version_timestamp = state.group_configs.changed_at_ms;
    for (const auto& [name, config] : state.group_configs.groups) table.groups.push_back(config);
    struct Total {
        std::int64_t groups;
        void write(remoting::CommandWriter& writer) const { writer.field("totalGroupNum", groups); }
    };
    state.answer(request, ResponseCode::success, Total{static_cast<std::int64_t>(table.groups.size())}, table.to_json());
}

static void handle_group_config(DispatchState& state, const Request& request) {
    const std::string_view name = request.command.fields.get("group").value_or("");
    // The tools ask this way whether a group is there: asking must not make it.
    const GroupConfig* config = find_group_config(state, name);
    if (config == nullptr)
        return state.refuse(request, ResponseCode::subscription_group_not_exist,
                            "group \"" + std::string{name.substr(0, group_length_max)} + "\" does not exist on this broker");
    state.succeed(request, config->to_json());
}

static void handle_delete_group(DispatchState& state, const Request& request) {
    const std::string_view name = request.command.fields.get("groupName").value_or("");
    if (const std::string fault = group_name_fault(name); !fault.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, fault);
    if (remoting::parse_boolean(request.command.fields.get("cleanOffset").value_or("")))
        if (const Refusal refusal = erase_positions(state, name); refusal.refused())
            return state.refuse(request, refusal.code, refusal.remark);
    // %RETRY% and %DLQ% topics stay: mqadmin deletes them with 215 when it is asked to, and a dead letter is not thrown
    // away in passing.
    if (const Refusal refusal = erase_group_config(state, name); refusal.refused())
        return state.refuse(request, refusal.code, refusal.remark);
    state.succeed_when_durable(request);
}

void add_group_config_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::update_and_create_subscription_group, handle_update_group);
    table.add(RequestCode::update_and_create_subscription_group_list, handle_update_groups);
    table.add(RequestCode::get_all_subscription_group_config, handle_list_groups);
    table.add(RequestCode::get_subscription_group_config, handle_group_config);
    table.add(RequestCode::delete_subscription_group, handle_delete_group);
}

}  // namespace hufu::broker
