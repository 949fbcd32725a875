// The built-in name service: routes and lists (105, 106, 206, 224, 304, 305), its key/value store (100, 101, 102, 219),
// write permissions (205, 327) and its own settings (318, 319).
#include <algorithm>

#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/object_map.hpp>
#include <hufu/remoting/topic_bodies.hpp>

#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"
#include "system_topics.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view kv_prefix = "kv/";
constexpr std::string_view order_namespace = "ORDER_TOPIC_CONFIG";
constexpr std::size_t kv_name_bytes_max = 255;
constexpr std::size_t kv_value_bytes_max = 16U << 10U;
constexpr std::size_t kv_entries_max = 10'000;
/// Set while routes name no writable queue.
constexpr std::string_view wiped_key = "setting/routes-without-write";

std::string kv_key(std::string_view space, std::string_view key) {
    return std::string{kv_prefix}.append(space).append(1, '/').append(key);
}

/// What is wrong with the names of an entry; empty: nothing. Slashes would mix up namespaces.
std::string kv_fault(std::string_view space, std::string_view key) {
    for (const std::string_view name : {space, key}) {
        if (name.empty() || name.size() > kv_name_bytes_max || name.find('/') != std::string_view::npos)
            return "namespace and key must have 1 to " + std::to_string(kv_name_bytes_max) + " bytes and no slash";
    }
    return {};
}

std::size_t count_entries(const DispatchState& state, std::string_view prefix) {
    std::size_t count = 0;
    state.log.for_each_state(prefix, [&](std::string_view, std::string_view) { ++count; });
    return count;
}

struct Field {
    std::string_view name;
    std::string_view value;
    void write(remoting::CommandWriter& writer) const { writer.field(name, value); }
};

std::int32_t routed_perm(const DispatchState& state, std::int32_t perm) {
    return state.routes_writable && state.options.writable ? perm : perm & ~remoting::permission::write;
}

}  // namespace

std::string address_text(const remoting::Host& host) {
    std::string text;
    for (const std::uint8_t part : host.ip) text.append(text.empty() ? "" : ".").append(std::to_string(part));
    return text.append(1, ':').append(std::to_string(host.port));
}

static void handle_route(DispatchState& state, const Request& request) {
    const auto header = remoting::RouteRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const auto config = config_of(state, header->topic);
    if (!config)
        return state.answer(request, ResponseCode::topic_not_exist, remoting::NoFields{}, {},
                            "No topic route info in name server for the topic: " +
                                std::string{header->topic.substr(0, derived_topic_length_max)});
    remoting::TopicRoute route;
    route.queues.push_back({.broker_name = state.options.broker_name,
                            .read_queues = config->read_queues,
                            .write_queues = config->write_queues,
                            .perm = routed_perm(state, config->perm),
                            .topic_sys_flag = config->sys_flag});
    route.brokers.push_back(
        {state.options.cluster, state.options.broker_name, {{0, address_text(state.options.advertised)}}});
    if (const auto order = state.log.state(kv_key(order_namespace, header->topic))) route.order_conf = *order;
    state.succeed(request, route.to_json());
}

static void handle_cluster_info(DispatchState& state, const Request& request) {
    // The numeric key stands without quotes here, whatever the client's version: that is how name servers write it.
    std::string json = R"({"brokerAddrTable":{)";
    remoting::append_json_text(json, state.options.broker_name);
    json += R"(:{"brokerAddrs":{0:)";
    remoting::append_json_text(json, address_text(state.options.advertised));
    json += R"(},"brokerName":)";
    remoting::append_json_text(json, state.options.broker_name);
    json += R"(,"cluster":)";
    remoting::append_json_text(json, state.options.cluster);
    json += R"(,"enableActingMaster":false}},"clusterAddrTable":{)";
    remoting::append_json_text(json, state.options.cluster);
    json += ":[";
    remoting::append_json_text(json, state.options.broker_name);
    json += "]}}";
    state.succeed(request, json);
}

static void handle_topic_names(DispatchState& state, const Request& request) {
    state.succeed(request, remoting::TopicNames{all_topic_names(state)}.to_json());
}

static void handle_topics_of_cluster(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view cluster = fields.text("cluster");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    remoting::TopicNames names;
    if (cluster == state.options.cluster) names.names = all_topic_names(state);
    state.succeed(request, names.to_json());
}

static void handle_system_topics_of_service(DispatchState& state, const Request& request) {
    // What a name server calls so: the names of clusters and brokers, and one broker to ask further.
    const DispatcherOptions& options = state.options;
    state.succeed(request,
                  remoting::TopicNames{{options.cluster, options.broker_name}, address_text(options.advertised)}.to_json());
}

static void handle_system_topics_of_broker(DispatchState& state, const Request& request) {
    remoting::TopicNames names;
    for (SystemTopic& topic : system_topics(state.options)) names.names.push_back(std::move(topic.name));
    state.succeed(request, names.to_json());
}

static void handle_put_kv(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view space = fields.text("namespace");
    const std::string_view key = fields.text("key");
    const std::string_view value = fields.text("value");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    if (const std::string fault = kv_fault(space, key); !fault.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, fault);
    if (value.size() > kv_value_bytes_max)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "the value has " + std::to_string(value.size()) + " bytes; at most " +
                                std::to_string(kv_value_bytes_max) + " are allowed");
    const std::string full_key = kv_key(space, key);
    if (!state.log.state(full_key) && count_entries(state, kv_prefix) >= kv_entries_max)
        return state.refuse(request, ResponseCode::system_busy,
                            "the name service holds " + std::to_string(kv_entries_max) + " keys already; delete some");
    const auto put = state.log.put_state(full_key, value);
    if (!put) return state.refuse(request, refusal_of(put.error()));
    state.changed_at = *put;
    state.succeed_when_durable(request);
}

static void handle_get_kv(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view space = fields.text("namespace");
    const std::string_view key = fields.text("key");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const auto value = kv_fault(space, key).empty() ? state.log.state(kv_key(space, key)) : std::nullopt;
    if (value) return state.answer(request, ResponseCode::success, Field{"value", *value});
    state.answer(request, ResponseCode::query_not_found, remoting::NoFields{}, {},
                 "No config item, Namespace: " + std::string{space.substr(0, kv_name_bytes_max)} +
                     " Key: " + std::string{key.substr(0, kv_name_bytes_max)});
}

static void handle_delete_kv(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view space = fields.text("namespace");
    const std::string_view key = fields.text("key");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    if (!kv_fault(space, key).empty() || !state.log.state(kv_key(space, key))) return state.succeed_when_durable(request);
    const auto erased = state.log.erase_state(kv_key(space, key));
    if (!erased) return state.refuse(request, refusal_of(erased.error()));
    state.changed_at = *erased;
    state.succeed_when_durable(request);
}

static void handle_kv_list(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view space = fields.text("namespace");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    std::string json = R"({"table":{)";
    bool any = false;
    const std::string prefix = kv_key(space, {});
    state.log.for_each_state(prefix, [&](std::string_view key, std::string_view value) {
        if (std::exchange(any, true)) json += ',';
        remoting::append_json_text(json, key.substr(prefix.size()));
        json += ':';
        remoting::append_json_text(json, value);
    });
    if (!any)
        return state.answer(request, ResponseCode::query_not_found, remoting::NoFields{}, {},
                            "No config item, Namespace: " + std::string{space.substr(0, kv_name_bytes_max)});
    state.succeed(request, json + "}}");
}

/// 205 and 327: routes with or without writable queues, for a broker that is to be drained.
static void change_write_permission(DispatchState& state, const Request& request, bool writable,
                                    std::string_view count_field) {
    RequestFields fields{request.command};
    const std::string_view broker = fields.text("brokerName");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    std::size_t count = 0;
    if (broker == state.options.broker_name) {
        count = state.topics.size();
        const auto put = writable ? state.log.erase_state(wiped_key) : state.log.put_state(wiped_key, "1");
        if (!put) return state.refuse(request, refusal_of(put.error()));
        state.routes_writable = writable;
    }
    const std::string text = std::to_string(count);
    state.answer(request, ResponseCode::success, Field{count_field, text});
}

static void handle_wipe_write(DispatchState& state, const Request& request) {
    change_write_permission(state, request, false, "wipeTopicCount");
}

static void handle_add_write(DispatchState& state, const Request& request) {
    change_write_permission(state, request, true, "addTopicCount");
}

static void handle_get_service_config(DispatchState& state, const Request& request) {
    std::string text = "listenPort=" + std::to_string(state.options.advertised.port) + "\n";
    text += "orderMessageEnable=true\n";
    state.succeed(request, text);
}

static void handle_update_service_config(DispatchState& state, const Request& request) {
    state.refuse(request, ResponseCode::invalid_parameter,
                 "the name service is part of the broker and has no settings of its own; use UPDATE_BROKER_CONFIG");
}

void load_name_service(DispatchState& state) { state.routes_writable = !state.log.state(wiped_key); }

void add_name_service_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_route_by_topic, handle_route);
    table.add(RequestCode::get_broker_cluster_info, handle_cluster_info);
    table.add(RequestCode::get_all_topic_list, handle_topic_names);
    table.add(RequestCode::get_topics_by_cluster, handle_topics_of_cluster);
    table.add(RequestCode::get_system_topic_list_from_name_server, handle_system_topics_of_service);
    table.add(RequestCode::get_system_topic_list_from_broker, handle_system_topics_of_broker);
    table.add(RequestCode::put_kv_config, handle_put_kv);
    table.add(RequestCode::get_kv_config, handle_get_kv);
    table.add(RequestCode::delete_kv_config, handle_delete_kv);
    table.add(RequestCode::get_kv_list_by_namespace, handle_kv_list);
    table.add(RequestCode::wipe_write_perm_of_broker, handle_wipe_write);
    table.add(RequestCode::add_write_perm_of_broker, handle_add_write);
    table.add(RequestCode::get_name_server_config, handle_get_service_config);
    table.add(RequestCode::update_name_server_config, handle_update_service_config);
}

}  // namespace hufu::broker
