// Topics and where they are: 105 and 106 of the built-in name service, topic listings 21 and 206.
#include <hufu/remoting/bodies.hpp>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

std::string address_of(const remoting::Host& host) {
    std::string text;
    for (const std::uint8_t part : host.ip) text.append(text.empty() ? "" : ".").append(std::to_string(part));
    return text.append(1, ':').append(std::to_string(host.port));
}

void append_text(std::string& json, std::string_view text) { json.append(1, '"').append(text).append(1, '"'); }

/// Names are of a charset that needs no escapes; the options' names were checked at start.
std::string broker_data(const DispatchState& state) {
    std::string json = R"({"brokerAddrs":{"0":)";
    append_text(json, address_of(state.options.advertised));
    json += R"(},"brokerName":)";
    append_text(json, state.options.broker_name);
    json += R"(,"cluster":)";
    append_text(json, state.options.cluster);
    return json += "}";
}

}  // namespace

static void handle_route(DispatchState& state, const Request& request) {
    const auto header = remoting::RouteRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    remoting::QueueData queues;
    queues.broker_name = state.options.broker_name;
    if (const Topic* topic = state.find_topic(header->topic); topic != nullptr) {
        queues.read_queues = topic->read_queues;
        queues.write_queues = topic->write_queues;
        queues.perm = topic->perm;
        queues.topic_sys_flag = topic->sys_flag;
    } else if (header->topic == template_topic && state.options.auto_create_topics) {
        // How a topic would look that a send creates.
        queues.read_queues = queues.write_queues = state.options.default_queues;
        queues.perm = remoting::permission::read | remoting::permission::write | remoting::permission::inherit;
    } else {
        return state.answer(request, ResponseCode::topic_not_exist, remoting::NoFields{}, {},
                            "No topic route info in name server for the topic: " +
                                std::string{header->topic.substr(0, derived_topic_length_max)});
    }
    remoting::TopicRoute route;
    route.queues.push_back(queues);
    route.brokers.push_back({state.options.cluster, state.options.broker_name, {{0, address_of(state.options.advertised)}}});
    state.succeed(request, route.to_json());
}

static void handle_cluster_info(DispatchState& state, const Request& request) {
    std::string json = R"({"brokerAddrTable":{)";
    append_text(json, state.options.broker_name);
    json += ":" + broker_data(state) + R"(},"clusterAddrTable":{)";
    append_text(json, state.options.cluster);
    json += ":[";
    append_text(json, state.options.broker_name);
    json += "]}}";
    state.succeed(request, json);
}

static void handle_topic_list(DispatchState& state, const Request& request) {
    std::string json = R"({"brokerAddr":null,"topicList":[)";
    bool first = true;
    for (const auto& [name, topic] : state.topics) {
        if (!std::exchange(first, false)) json += ",";
        append_text(json, name);
    }
    json += "]}";
    state.succeed(request, json);
}

static void handle_topic_configs(DispatchState& state, const Request& request) {
    std::string json = R"({"dataVersion":{"counter":)" + std::to_string(state.topics.size()) +
                       R"(,"stateVersion":0,"timestamp":0},"topicConfigTable":{)";
    bool first = true;
    for (const auto& [name, topic] : state.topics) {
        if (!std::exchange(first, false)) json += ",";
        const std::string queues = std::to_string(topic.queues.size());
        append_text(json, name);
        json += R"(:{"attributes":{},"order":false,"perm":)" + std::to_string(topic.perm) + R"(,"readQueueNums":)" + queues +
                R"(,"topicFilterType":"SINGLE_TAG","topicName":)";
        append_text(json, name);
        json += R"(,"topicSysFlag":0,"writeQueueNums":)" + queues + "}";
    }
    json += "}}";
    state.succeed(request, json);
}

void add_route_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_route_by_topic, handle_route);
    table.add(RequestCode::get_broker_cluster_info, handle_cluster_info);
    table.add(RequestCode::get_all_topic_list, handle_topic_list);
    table.add(RequestCode::get_all_topic_config, handle_topic_configs);
}

}  // namespace hufu::broker
