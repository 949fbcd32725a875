// Topics and where they are: 105 and 106 of the built-in name service, topic listings 21 and 206.
#include <charconv>

#include <hufu/remoting/bodies.hpp>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view key_prefix = "topic/";
constexpr std::int32_t queues_max = 16'384;  // of one topic

std::string address_of(const remoting::Host& host) {
    std::string text;
    for (const std::uint8_t part : host.ip) text.append(text.empty() ? "" : ".").append(std::to_string(part));
    return text.append(1, ':').append(std::to_string(host.port));
}

Topic& add_topic(DispatchState& state, std::string_view name, std::int32_t queues, std::int32_t perm) {
    Topic topic;
    topic.name = name;
    topic.perm = perm;
    for (std::int32_t queue = 0; queue < queues; ++queue) topic.queues.push_back(state.log.open_queue(name, queue));
    return state.topics.insert_or_assign(std::string{name}, std::move(topic)).first->second;
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

Topic* DispatchState::find_topic(std::string_view name) {
    const auto topic = topics.find(name);
    return topic == topics.end() ? nullptr : &topic->second;
}

QueueWaits& DispatchState::queue(QueueHandle handle) {
    if (queues.size() <= handle.value) queues.resize(handle.value + 1);
    return queues[handle.value];
}

Result<Topic*> DispatchState::create_topic(std::string_view name, std::int32_t queue_count) {
    if (topics.size() >= options.topics_max)
        return Error{ErrorCode::busy, Disposition::reject,
                     "topic \"" + std::string{name} + "\" was not created: the broker has " +
                         std::to_string(options.topics_max) + " topics already"};
    constexpr std::int32_t perm = remoting::permission::read | remoting::permission::write;
    const auto put =
        log.put_state(std::string{key_prefix}.append(name), std::to_string(queue_count) + " " + std::to_string(perm));
    if (!put) return put.error();
    return &add_topic(*this, name, queue_count, perm);
}

Topic* DispatchState::require_queue(const Request& request, std::string_view name, std::int32_t queue_id) {
    Topic* topic = find_topic(name);
    if (topic == nullptr) {
        std::string fault = topic_name_fault(name);
        const auto code = fault.empty() ? ResponseCode::topic_not_exist : ResponseCode::invalid_parameter;
        if (fault.empty()) fault = "topic \"" + std::string{name} + "\" does not exist; send to it or create it first";
        refuse(request, code, fault);
        return nullptr;
    }
    if (queue_id < 0 || queue_id >= static_cast<std::int32_t>(topic->queues.size())) {
        refuse(request, ResponseCode::invalid_parameter,
               "topic \"" + topic->name + "\" has queues 0 to " + std::to_string(topic->queues.size() - 1) + ", not " +
                   std::to_string(queue_id));
        return nullptr;
    }
    return topic;
}

void load_topics(DispatchState& state) {
    struct Stored {
        std::string name;
        std::int32_t queues;
        std::int32_t perm;
    };
    std::vector<Stored> found;
    state.log.for_each_state(key_prefix, [&](std::string_view key, std::string_view value) {
        std::int32_t queues = 0;
        std::int32_t perm = 0;
        const char* const end = value.data() + value.size();
        const auto first = std::from_chars(value.data(), end, queues);
        const bool separated = first.ec == std::errc{} && first.ptr != end && *first.ptr == ' ';
        const bool whole = separated && std::from_chars(first.ptr + 1, end, perm).ptr == end;
        if (!whole || queues < 1 || queues > queues_max) {
            state.alarm("the stored topic \"" + std::string{key} + "\" cannot be read and was passed over");
            return;
        }
        found.push_back({std::string{key.substr(key_prefix.size())}, queues, perm});
    });
    for (const Stored& topic : found) add_topic(state, topic.name, topic.queues, topic.perm);
}

static void handle_route(DispatchState& state, const Request& request) {
    const auto header = remoting::RouteRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    remoting::QueueData queues;
    queues.broker_name = state.options.broker_name;
    if (const Topic* topic = state.find_topic(header->topic); topic != nullptr) {
        queues.read_queues = queues.write_queues = static_cast<std::int32_t>(topic->queues.size());
        queues.perm = topic->perm;
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
