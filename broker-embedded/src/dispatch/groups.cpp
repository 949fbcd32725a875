// Members of groups and what they hold: 34, 35, 38, 40, 41, 42.
#include <hufu/remoting/bodies.hpp>

#include "group_handlers.hpp"
#include "names.hpp"
#include "pull_waits.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t body_bytes_max = 1U << 20U;  // of heartbeats and lock requests
constexpr std::size_t client_id_bytes_max = 1024;
constexpr std::size_t groups_max = 1000;  // in one heartbeat
constexpr std::size_t subscriptions_max = 1000;
constexpr std::size_t locks_max = 10'000;  // queues in one request

/// What is wrong with a heartbeat; empty when it is fine.
std::string fault_of(const remoting::Heartbeat& heartbeat) {
    if (heartbeat.client_id.empty()) return "the heartbeat lacks its clientID";
    if (heartbeat.client_id.size() > client_id_bytes_max)
        return "the clientID has " + std::to_string(heartbeat.client_id.size()) + " bytes; at most " +
               std::to_string(client_id_bytes_max) + " are allowed";
    if (heartbeat.producer_groups.size() + heartbeat.consumers.size() > groups_max)
        return std::to_string(heartbeat.producer_groups.size() + heartbeat.consumers.size()) +
               " groups in one heartbeat; at most " + std::to_string(groups_max) + " are allowed";
    for (const std::string& group : heartbeat.producer_groups)
        if (std::string fault = group_name_fault(group); !fault.empty()) return fault;
    for (const remoting::ConsumerData& consumer : heartbeat.consumers) {
        if (std::string fault = group_name_fault(consumer.group); !fault.empty()) return fault;
        if (consumer.subscriptions.size() > subscriptions_max)
            return "group \"" + consumer.group + "\" has " + std::to_string(consumer.subscriptions.size()) +
                   " subscriptions; at most " + std::to_string(subscriptions_max) + " are allowed";
        for (const remoting::SubscriptionData& subscription : consumer.subscriptions)
            if (std::string fault = topic_name_fault(subscription.topic); !fault.empty()) return fault;
    }
    return {};
}

Beat beat_of(DispatchState& state, const remoting::Heartbeat& heartbeat, const remoting::CommandView& command) {
    Beat beat;
    beat.client_id = heartbeat.client_id;
    beat.language = command.language;
    beat.version = command.version;
    beat.fingerprint = heartbeat.fingerprint;
    beat.without_subscriptions = heartbeat.without_subscriptions;
    beat.producer_groups = heartbeat.producer_groups;
    for (const remoting::ConsumerData& consumer : heartbeat.consumers) {
        ConsumerBeat& group = beat.consumers.emplace_back();
        group.group = consumer.group;
        group.consume_type = consumer.consume_type;
        group.message_model = consumer.message_model;
        group.from = consumer.from;
        for (const remoting::SubscriptionData& wanted : consumer.subscriptions)
            // The codes come from the expression: those that some clients send are wrong.
            group.subscriptions.push_back(TopicSubscription{wanted.topic, wanted.expression, wanted.version,
                                                            wanted.expression_type,
                                                            state.filters.get(wanted.expression_type, wanted.expression)});
    }
    return beat;
}

/// Makes the group and its retry topic where they are missing.
Refusal prepare_group(DispatchState& state, const std::string& group) {
    Refusal refusal;
    const remoting::GroupConfig* config = require_group(state, group, refusal);
    if (config == nullptr) return refusal;
    // The route of the retry topic must be there right after the first heartbeat: clients ask every 30 s only.
    return retry_topic(state, *config, refusal) == nullptr ? refusal : Refusal{};
}

/// Groups in this heartbeat that want something else of a topic than before.
std::vector<std::string> changing_wishes(const DispatchState& state, const Beat& beat) {
    std::vector<std::string> changing;
    for (const ConsumerBeat& consumer : beat.consumers) {
        const GroupTable::Group* group = state.groups.find(consumer.group);
        if (group == nullptr) continue;
        for (const TopicSubscription& wanted : consumer.subscriptions) {
            const auto known = group->subscriptions.find(wanted.topic);
            if (known == group->subscriptions.end() || wanted.version <= known->second.version) continue;
            if (wanted.expression == known->second.expression && wanted.expression_type == known->second.expression_type)
                continue;
            changing.push_back(consumer.group);
            break;
        }
    }
    return changing;
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

bool parse_lock_request(DispatchState& state, const Request& request, remoting::LockRequest& into) {
    if (!parse_body(state, request, into)) return false;
    std::string fault = group_name_fault(into.consumer_group);
    if (fault.empty() && into.client_id.size() > client_id_bytes_max) fault = "the clientId is too long";
    if (fault.empty() && into.queues.size() > locks_max)
        fault = std::to_string(into.queues.size()) + " queues in one request; at most " + std::to_string(locks_max) +
                " are allowed";
    if (fault.empty()) return true;
    state.refuse(request, ResponseCode::invalid_parameter, fault);
    return false;
}

bool exists(DispatchState& state, const remoting::MessageQueue& queue) {
    const Topic* topic = state.find_topic(queue.topic);
    return topic != nullptr && queue.queue_id >= 0 && queue.queue_id < static_cast<std::int32_t>(topic->queues.size());
}

}  // namespace

static void handle_heartbeat(DispatchState& state, const Request& request) {
    remoting::Heartbeat heartbeat;
    if (!parse_body(state, request, heartbeat)) return;
    if (const std::string fault = fault_of(heartbeat); !fault.empty())
        return state.refuse(request, ResponseCode::invalid_parameter, fault);
    std::vector<remoting::ConsumerData> known;
    for (remoting::ConsumerData& consumer : heartbeat.consumers) {
        const Refusal refusal = prepare_group(state, consumer.group);
        // A group that may not be made is passed over: its pulls are refused, the client's other groups live.
        if (refusal.code == ResponseCode::subscription_group_not_exist) continue;
        if (refusal.refused()) return state.refuse(request, refusal.code, refusal.remark);
        known.push_back(std::move(consumer));
    }
    heartbeat.consumers = std::move(known);
    const Beat beat = beat_of(state, heartbeat, request.command);
    const std::vector<std::string> changing = changing_wishes(state, beat);
    const GroupTable::Beaten beaten = state.groups.beat(request.connection, beat, request.now, state.options.members_max);
    for (const std::string& group : changing) end_waits_of_group(state, group, request.now);
    for (const std::string& group : beat.producer_groups) state.transactions.producer_joined(group, request.now);
    state.members_gauge.set(static_cast<std::int64_t>(state.groups.member_count()));
    if (beaten.full) {
        state.refuse(request, ResponseCode::system_busy,
                     "[OVERLOAD] the broker has " + std::to_string(state.options.members_max) + " group members already");
    } else {
        // A client of the first version learns nothing from the answer; of the second: whether to send its subscriptions.
        state.answer(request, ResponseCode::success,
                     remoting::HeartbeatResponse{true, heartbeat.fingerprint == 0 || beaten.subscriptions_wanted});
    }
    tell_members(state, beaten.changed);
}

static void handle_unregister(DispatchState& state, const Request& request) {
    const auto header = remoting::UnregisterRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    if (!header->producer_group.empty())
        state.groups.leave_producers(request.connection, header->client_id, header->producer_group);
    const bool left =
        !header->consumer_group.empty() && state.groups.leave(request.connection, header->client_id, header->consumer_group);
    state.members_gauge.set(static_cast<std::int64_t>(state.groups.member_count()));
    state.succeed(request);
    if (left) tell_members(state, {std::string{header->consumer_group}});
}

static void handle_consumer_list(DispatchState& state, const Request& request) {
    const auto header = remoting::GroupRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const GroupTable::Group* group = state.groups.find(header->consumer_group);
    if (group == nullptr)
        return state.refuse(request, ResponseCode::system_error,
                            "no consumer of group \"" + std::string{header->consumer_group.substr(0, group_length_max)} +
                                "\" is registered");
    state.succeed(request, remoting::ConsumerList{group->client_ids()}.to_json());
}

static void handle_lock_queues(DispatchState& state, const Request& request) {
    remoting::LockRequest wanted;
    if (!parse_lock_request(state, request, wanted)) return;
    remoting::LockResponse answer;
    for (const remoting::MessageQueue& queue : wanted.queues) {
        if (exists(state, queue) && state.locks.lock(wanted.consumer_group, {queue.topic, queue.queue_id}, wanted.client_id,
                                                     request.connection, request.now))
            answer.locked.push_back(queue);
    }
    state.succeed(request, answer.to_json());
}

static void handle_unlock_queues(DispatchState& state, const Request& request) {
    remoting::LockRequest given;
    if (!parse_lock_request(state, request, given)) return;
    for (const remoting::MessageQueue& queue : given.queues)
        state.locks.unlock(given.consumer_group, {queue.topic, queue.queue_id}, given.client_id);
    state.succeed(request);
}

void tell_members(DispatchState& state, const std::vector<std::string>& groups) {
    state.members_gauge.set(static_cast<std::int64_t>(state.groups.member_count()));
    for (const std::string& name : groups) {
        const GroupTable::Group* group = state.groups.find(name);
        if (group == nullptr || group->broadcasting()) continue;
        const remoting::GroupConfig* config = find_group_config(state, name);
        if (config != nullptr && !config->tell_members) continue;
        for (const GroupTable::Member& member : group->members)
            state.tell(member.connection, remoting::RequestCode::notify_consumer_ids_changed, remoting::GroupRequest{name});
    }
}

void add_group_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::heartbeat, handle_heartbeat);
    table.add(RequestCode::unregister_client, handle_unregister);
    table.add(RequestCode::get_consumer_list_by_group, handle_consumer_list);
    table.add(RequestCode::lock_batch_queues, handle_lock_queues);
    table.add(RequestCode::unlock_batch_queues, handle_unlock_queues);
    for (const auto add : {add_group_config_handlers, add_connection_handlers, add_send_back_handlers, add_reply_handlers,
                           add_forward_handlers, add_reset_handlers})
        add(table);
}

}  // namespace hufu::broker
