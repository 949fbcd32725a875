// Topics as an administrator sees them: 17, 18, 21, 215, 216, 217, 351.
#include <algorithm>

#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/topic_bodies.hpp>

#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"
#include "system_topics.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t body_bytes_max = 4U << 20U;
constexpr std::int64_t topics_of_a_page = 2000;

/// What keeps an administrator from making, changing or deleting a topic of this name.
std::string name_fault(const DispatchState& state, std::string_view name) {
    if (std::string fault = topic_name_fault(name); !fault.empty()) return fault;
    if (name == template_topic || find_system_topic(state.options, name))
        return "the topic \"" + std::string{name} + "\" is conflict with system topic: the broker keeps it as it is";
    return {};
}

/// "+a=1,-b" from the map form {"+a":"1","-b":""}; a name without a sign is added.
std::string change_of(const Attributes& attributes) {
    std::string change;
    for (const auto& [name, value] : attributes) {
        if (!change.empty()) change += ',';
        if (!name.starts_with('+') && !name.starts_with('-')) change += '+';
        change += name;
        if (!name.starts_with('-')) change.append(1, '=').append(value);
    }
    return change;
}

/// The config that the topic would have after the request.
Result<TopicConfig> wanted_config(DispatchState& state, const remoting::TopicData& wanted, std::string_view change) {
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (std::string fault = name_fault(state, wanted.name); !fault.empty()) return refuse(std::move(fault));
    const Topic* known = state.find_topic(wanted.name);
    TopicConfig config{wanted.read_queues, wanted.write_queues, wanted.perm, wanted.order, wanted.sys_flag, {}};
    if (std::string fault = config.fault(wanted.name); !fault.empty()) return refuse(std::move(fault));
    if (known != nullptr) config.attributes = known->attributes;
    if (auto changed = change_attributes(config.attributes, change, known == nullptr, state.options.mixed_message_type);
        !changed)
        return changed.error();
    return config;
}

Refusal refusal_for_admin(const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) return {ResponseCode::invalid_parameter, error.text()};
    return refusal_of(error);
}

remoting::TopicData data_of(const std::string& name, const TopicConfig& config) {
    return {name, config.read_queues, config.write_queues, config.perm, config.sys_flag, config.order, config.attributes};
}

bool body_fits(DispatchState& state, const Request& request) {
    if (request.command.body.size() <= body_bytes_max) return true;
    state.refuse(request, ResponseCode::invalid_parameter,
                 "the body has " + std::to_string(request.command.body.size()) + " bytes; at most " +
                     std::to_string(body_bytes_max) + " are allowed here");
    return false;
}

}  // namespace

std::vector<std::string> all_topic_names(const DispatchState& state) {
    std::vector<std::string> names;
    names.reserve(state.topics.size() + 16);
    for (const auto& [name, topic] : state.topics) names.push_back(name);
    for (SystemTopic& topic : system_topics(state.options)) names.push_back(std::move(topic.name));
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

std::optional<TopicConfig> config_of(DispatchState& state, std::string_view name) {
    if (const Topic* topic = state.find_topic(name); topic != nullptr) return *topic;
    if (auto system = find_system_topic(state.options, name)) return system->config;
    return std::nullopt;
}

static void handle_update_topic(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    remoting::TopicData wanted;
    wanted.name = fields.text("topic");
    wanted.read_queues = fields.number32("readQueueNums");
    wanted.write_queues = fields.number32("writeQueueNums");
    wanted.perm = fields.number32("perm");
    wanted.order = fields.flag_or("order", false);
    wanted.sys_flag = static_cast<std::int32_t>(fields.number_or("topicSysFlag", 0) & 0x7FFFFFFF);
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    auto config = wanted_config(state, wanted, fields.text_or("attributes", {}));
    if (!config) return state.refuse(request, refusal_for_admin(config.error()));
    if (const auto stored = state.store_topic(wanted.name, std::move(*config)); !stored)
        return state.refuse(request, refusal_for_admin(stored.error()));
    state.succeed_when_durable(request);
}

static void handle_update_topics(DispatchState& state, const Request& request) {
    if (!body_fits(state, request)) return;
    const auto wanted = remoting::parse_topic_list(request.command.body);
    if (!wanted) return state.refuse(request, ResponseCode::invalid_parameter, wanted.error().text());
    std::vector<TopicConfig> configs;
    for (const remoting::TopicData& topic : *wanted) {  // all are looked at before the first is stored
        auto config = wanted_config(state, topic, change_of(topic.attributes));
        if (!config) return state.refuse(request, refusal_for_admin(config.error()));
        configs.push_back(std::move(*config));
    }
    for (std::size_t at = 0; at < configs.size(); ++at)
        if (const auto stored = state.store_topic((*wanted)[at].name, std::move(configs[at])); !stored)
            return state.refuse(request, refusal_for_admin(stored.error()));
    state.succeed_when_durable(request);
}

static void handle_delete_topic(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string name{fields.text("topic")};
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    if (const std::string fault = name_fault(state, name); !fault.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, fault);
    if (const auto deleted = state.delete_topic(name); !deleted)
        return state.refuse(request, refusal_for_admin(deleted.error()));
    state.succeed_when_durable(request);
}

static void handle_delete_route(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("topic");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    // Routes follow the topics of this one broker: there is nothing to forget once the topic is gone.
    if (state.find_topic(name) != nullptr)
        return state.refuse(request, ResponseCode::system_error,
                            "topic \"" + std::string{name} + "\" is on broker \"" + state.options.broker_name +
                                "\"; delete it there (DELETE_TOPIC_IN_BROKER), its route goes with it");
    state.succeed(request);
}

static void handle_register_topic(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    remoting::TopicData wanted;
    wanted.name = fields.text("topic");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    if (!body_fits(state, request)) return;
    const auto route = remoting::TopicRoute::parse(request.command.body);
    if (!route) return state.refuse(request, ResponseCode::invalid_parameter, route.error().text());
    const auto queues = std::find_if(route->queues.begin(), route->queues.end(), [&](const remoting::QueueData& data) {
        return data.broker_name == state.options.broker_name;
    });
    if (queues == route->queues.end() || route->queues.size() != 1)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "this name service knows one broker, \"" + state.options.broker_name +
                                "\"; the route must name it and no other");
    wanted.read_queues = queues->read_queues;
    wanted.write_queues = queues->write_queues;
    wanted.perm = queues->perm;
    wanted.sys_flag = queues->topic_sys_flag;
    auto config = wanted_config(state, wanted, {});
    if (!config) return state.refuse(request, refusal_for_admin(config.error()));
    if (const auto stored = state.store_topic(wanted.name, std::move(*config)); !stored)
        return state.refuse(request, refusal_for_admin(stored.error()));
    state.succeed_when_durable(request);
}

static void handle_topic_config(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string name{fields.text("topic")};
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const auto config = config_of(state, name);
    if (!config)
        return state.refuse(request, ResponseCode::topic_not_exist,
                            "No topic in this broker. topic: " + name.substr(0, derived_topic_length_max));
    state.succeed(request, data_of(name, *config).to_json());
}

static void handle_topic_configs(DispatchState& state, const Request& request) {
    // 5.x asks page by page; without a page it is all of them.
    RequestFields fields{request.command};
    const std::int64_t first = fields.number_or("topicSeq", -1);
    const std::int64_t count =
        std::clamp<std::int64_t>(fields.number_or("maxTopicNum", topics_of_a_page), 1, topics_of_a_page);
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const std::vector<std::string> names = all_topic_names(state);
    const auto total = static_cast<std::int64_t>(names.size());
    const std::int64_t begin = std::clamp<std::int64_t>(first, 0, total);
    const std::int64_t end = first < 0 ? total : std::min(total, begin + count);
    std::vector<remoting::TopicData> topics;
    for (std::int64_t at = begin; at < end; ++at) {
        const std::string& name = names[static_cast<std::size_t>(at)];
        if (const auto config = config_of(state, name)) topics.push_back(data_of(name, *config));
    }
    struct Total {
        std::int64_t value;
        void write(remoting::CommandWriter& writer) const { writer.field("totalTopicNum", value); }
    };
    state.answer(request, ResponseCode::success, Total{total},
                 remoting::topic_table_json(topics, static_cast<std::int64_t>(state.topics_version)));
}

void add_topic_admin_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::update_and_create_topic, handle_update_topic);
    table.add(RequestCode::update_and_create_topic_list, handle_update_topics);
    table.add(RequestCode::get_all_topic_config, handle_topic_configs);
    table.add(RequestCode::get_topic_config, handle_topic_config);
    table.add(RequestCode::delete_topic_in_broker, handle_delete_topic);
    table.add(RequestCode::delete_topic_in_name_server, handle_delete_route);
    table.add(RequestCode::register_topic_in_name_server, handle_register_topic);
}

}  // namespace hufu::broker
