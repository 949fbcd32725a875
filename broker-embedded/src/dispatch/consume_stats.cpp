// Where queues and groups stand, for administrators: 202, 208, 300, 303, 317.
#include <algorithm>
#include <cstdio>
#include <set>

#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/object_map.hpp>

#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

std::string decimal(double value) {
    char text[40];
    const int length = std::snprintf(text, sizeof text, "%.2f", value);
    return {text, static_cast<std::size_t>(std::max(length, 0))};
}

/// When the record was stored; 0 when there is none.
std::int64_t stored_ms(DispatchState& state, QueueHandle queue, std::uint64_t offset) {
    const auto stored = state.log.stored_at_ms(queue, offset);
    return stored ? static_cast<std::int64_t>(*stored) : 0;
}

remoting::MessageQueue queue_of(const DispatchState& state, const Topic& topic, std::size_t queue_id) {
    return {topic.name, state.options.broker_name, static_cast<std::int32_t>(queue_id)};
}

std::set<std::string, std::less<>> topics_of(const DispatchState& state, std::string_view group) {
    std::set<std::string, std::less<>> topics;
    const auto of_group = state.positions.find(group);
    if (of_group == state.positions.end()) return topics;
    for (const auto& [queue, position] : of_group->second) topics.emplace(state.log.queue_name(queue).topic);
    return topics;
}

/// A group that is online and no longer subscribed to the topic has nothing to catch up on there.
bool gave_up(const DispatchState& state, std::string_view group, std::string_view topic) {
    const GroupTable::Group* online = state.groups.find(group);
    return online != nullptr && !online->subscriptions.empty() && !online->subscriptions.contains(topic);
}

/// ConsumeStats as JSON. `behind`: messages the group has not consumed.
template <class Topics>
std::string consume_stats(DispatchState& state, std::string_view group, const Topics& topics, SteadyTime now,
                          std::int64_t& behind) {
    double rate = 0;
    std::string table;
    remoting::QueueMapWriter queues{table};
    for (const auto& name : topics) {
        const Topic* topic = state.find_topic(name);
        if (topic == nullptr || gave_up(state, group, name)) continue;
        for (std::size_t id = 0; id < static_cast<std::size_t>(topic->read_queues); ++id) {
            const QueueHandle queue = topic->queues[id];
            const std::uint64_t end = state.log.max_offset(queue);
            const std::uint64_t at = position_of(state, group, queue).value_or(0);
            behind += static_cast<std::int64_t>(end - std::min(end, at));
            const std::int64_t last = at > 0 ? stored_ms(state, queue, at - 1) : 0;
            queues.add(queue_of(state, *topic, id),
                       "{\"brokerOffset\":" + std::to_string(end) + ",\"consumerOffset\":" + std::to_string(at) +
                           ",\"lastTimestamp\":" + std::to_string(last) + ",\"pullOffset\":" + std::to_string(at) + "}");
        }
        if (Meter* meter = state.stats.group_gets(group, name); meter != nullptr)
            rate += meter->minute(now).messages_per_second();
    }
    queues.finish();
    return "{\"consumeTps\":" + decimal(rate) + ",\"offsetTable\":" + table + "}";
}

const Topic* require_topic(DispatchState& state, const Request& request, std::string_view name) {
    const Topic* topic = state.find_topic(name);
    if (topic == nullptr)
        state.refuse(request, ResponseCode::topic_not_exist,
                     "topic[" + std::string{name.substr(0, derived_topic_length_max)} + "] not exist");
    return topic;
}

/// Every group that stands in the topic or is subscribed to it.
std::set<std::string> groups_of(DispatchState& state, const Topic& topic) {
    std::set<std::string> groups;
    for (const auto& [group, positions] : state.positions)
        for (const QueueHandle queue : topic.queues)
            if (positions.contains(queue)) {
                groups.insert(group);
                break;
            }
    for (const auto& [name, online] : state.groups.groups())
        if (online.subscriptions.contains(topic.name)) groups.insert(name);
    return groups;
}

}  // namespace

static void handle_topic_stats(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("topic");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const Topic* topic = require_topic(state, request, name);
    if (topic == nullptr) return;
    std::string json = "{\"offsetTable\":";
    remoting::QueueMapWriter queues{json};
    for (std::size_t id = 0; id < topic->queues.size(); ++id) {
        const QueueHandle queue = topic->queues[id];
        const std::uint64_t begin = state.log.min_offset(queue);
        const std::uint64_t end = state.log.max_offset(queue);
        queues.add(queue_of(state, *topic, id),
                   "{\"lastUpdateTimestamp\":" + std::to_string(end > begin ? stored_ms(state, queue, end - 1) : 0) +
                       ",\"maxOffset\":" + std::to_string(end) + ",\"minOffset\":" + std::to_string(begin) + "}");
    }
    queues.finish();
    Meter* meter = state.stats.topic_puts(name);
    const double rate = meter == nullptr ? 0 : meter->minute(request.now).messages_per_second();
    state.succeed(request, json + ",\"topicPutTps\":" + decimal(rate) + "}");
}

static void handle_consume_stats(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view group = fields.text("consumerGroup");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    std::set<std::string, std::less<>> topics;
    if (const std::string_view topic = fields.text_or("topic", {}); !topic.empty()) topics.emplace(topic);
    for (std::string_view rest = fields.text_or("topicList", {}); !rest.empty();) {
        const auto end = rest.find(';');
        if (const std::string_view topic = rest.substr(0, end); !topic.empty()) topics.emplace(topic);
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
    if (topics.empty()) topics = topics_of(state, group);
    std::int64_t behind = 0;
    state.succeed(request, consume_stats(state, group, topics, request.now, behind));
}

static void handle_all_consume_stats(DispatchState& state, const Request& request) {
    std::string list;
    std::int64_t total = 0;
    for (const auto& [group, positions] : state.positions) {
        if (!list.empty()) list += ',';
        list += '{';
        remoting::append_json_text(list, group);
        list += ":[" + consume_stats(state, group, topics_of(state, group), request.now, total) + "]}";
    }
    std::string json = "{\"brokerAddr\":";
    remoting::append_json_text(json, address_text(state.options.advertised));
    json += ",\"consumeStatsList\":[" + list + "],\"totalDiff\":" + std::to_string(total) + ",\"totalInflightDiff\":0}";
    state.succeed(request, json);
}

static void handle_consumed_by(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("topic");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    std::string json = "{\"groupList\":[";
    if (const Topic* topic = state.find_topic(name); topic != nullptr) {
        bool first = true;
        for (const std::string& group : groups_of(state, *topic)) {
            if (!std::exchange(first, false)) json += ',';
            remoting::append_json_text(json, group);
        }
    }
    state.succeed(request, json + "]}");
}

static void handle_time_span(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("topic");
    const std::string_view group = fields.text("group");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const Topic* topic = require_topic(state, request, name);
    if (topic == nullptr) return;
    const std::int64_t now_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(state.clock.system_now().time_since_epoch()).count();
    std::string json = "{\"consumeTimeSpanSet\":[";
    for (std::size_t id = 0; id < static_cast<std::size_t>(topic->read_queues); ++id) {
        const QueueHandle queue = topic->queues[id];
        const std::uint64_t begin = state.log.min_offset(queue);
        const std::uint64_t end = state.log.max_offset(queue);
        const std::uint64_t at = std::clamp(position_of(state, group, queue).value_or(begin), begin, end);
        const std::int64_t first = end > begin ? stored_ms(state, queue, begin) : 0;
        const std::int64_t last = end > begin ? stored_ms(state, queue, end - 1) : 0;
        const std::int64_t consumed = at > begin ? stored_ms(state, queue, at - 1) : first;
        const std::int64_t delay = at < end ? std::max<std::int64_t>(0, now_ms - stored_ms(state, queue, at)) : 0;
        if (id > 0) json += ',';
        json += "{\"consumeTimeStamp\":" + std::to_string(consumed) + ",\"delayTime\":" + std::to_string(delay) +
                ",\"maxTimeStamp\":" + std::to_string(last) + ",\"messageQueue\":{\"brokerName\":";
        remoting::append_json_text(json, state.options.broker_name);
        json += ",\"queueId\":" + std::to_string(id) + ",\"topic\":";
        remoting::append_json_text(json, topic->name);
        json += "},\"minTimeStamp\":" + std::to_string(first) + "}";
    }
    state.succeed(request, json + "]}");
}

void add_consume_stats_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_topic_stats_info, handle_topic_stats);
    table.add(RequestCode::get_consume_stats, handle_consume_stats);
    table.add(RequestCode::query_topic_consume_by_who, handle_consumed_by);
    table.add(RequestCode::query_consume_time_span, handle_time_span);
    table.add(RequestCode::get_broker_consume_stats, handle_all_consume_stats);
}

}  // namespace hufu::broker
