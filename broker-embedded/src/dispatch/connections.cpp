// Who is connected: 203, 204, 328; what groups consume: 343, 345.
#include <chrono>
#include <set>

#include <hufu/remoting/bodies_groups.hpp>

#include "group_handlers.hpp"
#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

std::string shown(std::string_view name) { return "\"" + std::string{name.substr(0, group_length_max)} + "\""; }

remoting::ClientConnection connection_of(DispatchState& state, const GroupTable::Member& member) {
    const Session* session = state.find(member.connection);
    return {member.client_id, session == nullptr ? std::string{} : host_text(session->peer),
            std::string{remoting::language_name(member.language)}, member.version};
}

std::vector<remoting::ClientConnection> connections_of(DispatchState& state,
                                                       const std::vector<GroupTable::Member>& members) {
    std::vector<remoting::ClientConnection> connections;
    for (const GroupTable::Member& member : members) connections.push_back(connection_of(state, member));
    return connections;
}

remoting::SubscriptionData data_of(const TopicSubscription& subscription) {
    return {subscription.topic, subscription.expression, subscription.version, subscription.expression_type};
}

/// Wall-clock time of a heartbeat.
std::int64_t beat_ms(const DispatchState& state, const GroupTable::Member& member, SteadyTime now) {
    const auto wall = state.clock.system_now() - (now - member.last_beat);
    return std::chrono::duration_cast<std::chrono::milliseconds>(wall.time_since_epoch()).count();
}

}  // namespace

static void handle_consumer_connections(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("consumerGroup");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const GroupTable::Group* group = state.groups.find(name);
    if (group == nullptr)
        return state.refuse(request, ResponseCode::consumer_not_online,
                            "the consumer group " + shown(name) + " is not online: no member sends heartbeats");
    remoting::ConsumerConnections answer;
    answer.connections = connections_of(state, group->members);
    answer.consume_type = group->consume_type;
    answer.message_model = group->message_model;
    answer.from = group->from;
    for (const auto& [topic, subscription] : group->subscriptions) answer.subscriptions.push_back(data_of(subscription));
    state.succeed(request, answer.to_json());
}

static void handle_producer_connections(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("producerGroup");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const GroupTable::Producers* producers = state.groups.find_producers(name);
    if (producers == nullptr)
        return state.refuse(request, ResponseCode::system_error, "the producer group " + shown(name) + " is not online");
    state.succeed(request, remoting::ProducerConnections{connections_of(state, *producers)}.to_json());
}

static void handle_all_producers(DispatchState& state, const Request& request) {
    remoting::ProducerTable table;
    for (const auto& [group, producers] : state.groups.producers())
        for (const GroupTable::Member& producer : producers)
            table.groups[group].push_back({connection_of(state, producer), beat_ms(state, producer, request.now)});
    state.succeed(request, table.to_json());
}

static void handle_topics_of_group(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("group");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    // Those it stands in, as a RocketMQ broker answers, and those that its members have subscribed to meanwhile.
    std::set<std::string, std::less<>> topics;
    if (const auto positions = state.positions.find(name); positions != state.positions.end())
        for (const auto& [queue, position] : positions->second) topics.emplace(state.log.queue_name(queue).topic);
    if (const GroupTable::Group* group = state.groups.find(name); group != nullptr)
        for (const auto& [topic, subscription] : group->subscriptions) topics.insert(topic);
    state.succeed(request, remoting::topic_list_json({topics.begin(), topics.end()}, host_text(state.options.advertised)));
}

static void handle_subscription_of_group(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view name = fields.text("group");
    const std::string_view topic = fields.text("topic");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const GroupTable::Group* group = state.groups.find(name);
    const auto subscription = group == nullptr ? decltype(group->subscriptions.end()){} : group->subscriptions.find(topic);
    if (group == nullptr || subscription == group->subscriptions.end())
        return state.succeed(request, remoting::subscription_answer_json(name, topic, nullptr));
    const remoting::SubscriptionData data = data_of(subscription->second);
    state.succeed(request, remoting::subscription_answer_json(name, topic, &data));
}

void add_connection_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_consumer_connection_list, handle_consumer_connections);
    table.add(RequestCode::get_producer_connection_list, handle_producer_connections);
    table.add(RequestCode::get_all_producer_info, handle_all_producers);
    table.add(RequestCode::query_topics_by_consumer, handle_topics_of_group);
    table.add(RequestCode::query_subscription_by_consumer, handle_subscription_of_group);
}

}  // namespace hufu::broker
