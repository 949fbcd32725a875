// Moving a group to another place: 222 (by time or to an offset), 314 (where another group stands); 43 tells where all stand.
#include <algorithm>
#include <string>
#include <vector>

#include <hufu/remoting/bodies_groups.hpp>
#include <hufu/remoting/object_map.hpp>

#include "group_handlers.hpp"
#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t listing_bytes_max = 15U << 20U;  // what fits into one frame

std::string shown(std::string_view name) { return "\"" + std::string{name.substr(0, derived_topic_length_max)} + "\""; }

struct ResetRequest {
    std::string_view group;
    std::string_view topic;
    std::int32_t queue_id = -1;  ///< negative: all
    std::int64_t offset = -1;    ///< negative: by time
    std::int64_t timestamp = 0;  ///< ms since 1970 UTC; negative: the end
    bool forward_too = true;     ///< isForce: also forward from where the group stands
};

Refusal decode(const remoting::CommandView& command, ResetRequest& into) {
    RequestFields fields{command};
    into.group = fields.text("group");
    into.topic = fields.text("topic");
    into.timestamp = fields.number("timestamp");
    into.offset = fields.number_or("offset", -1);
    into.forward_too = fields.flag_or("isForce", true);
    if (command.fields.get("queueId")) into.queue_id = fields.number32("queueId");
    if (!fields.fault().empty()) return {ResponseCode::invalid_parameter, fields.fault()};
    return {};
}

/// Where the group is to stand in this queue.
std::uint64_t target_in(DispatchState& state, const ResetRequest& wanted, QueueHandle queue) {
    std::uint64_t target = 0;
    if (wanted.queue_id >= 0 && wanted.offset >= 0) {
        target = static_cast<std::uint64_t>(wanted.offset);
    } else if (wanted.timestamp < 0) {
        target = state.log.max_offset(queue);
    } else {
        target = offset_at_ms(state, queue, wanted.timestamp, TimeBoundary::lower);
    }
    const auto standing = position_of(state, wanted.group, queue);
    return !wanted.forward_too && standing ? std::min(target, *standing) : target;
}

Refusal targets_of(DispatchState& state, const ResetRequest& wanted, const Topic& topic,
                   std::vector<remoting::QueueOffset>& targets) {
    if (wanted.queue_id >= topic.read_queues)
        return {ResponseCode::invalid_parameter, "topic " + shown(topic.name) + " is read from queues 0 to " +
                                                     std::to_string(topic.read_queues - 1) + ", not " +
                                                     std::to_string(wanted.queue_id)};
    for (std::int32_t id = 0; id < topic.read_queues; ++id) {
        if (wanted.queue_id >= 0 && id != wanted.queue_id) continue;
        const QueueHandle queue = topic.queues[static_cast<std::size_t>(id)];
        if (wanted.queue_id >= 0 && wanted.offset >= 0) {
            const auto [first, end] = std::pair{state.log.min_offset(queue), state.log.max_offset(queue)};
            const auto offset = static_cast<std::uint64_t>(wanted.offset);
            if (offset < first || offset > end)
                return {ResponseCode::system_error, "Target offset " + std::to_string(offset) +
                                                        " not in consume queue range [" + std::to_string(first) + "-" +
                                                        std::to_string(end) + "]"};
        }
        targets.push_back(
            {{topic.name, state.options.broker_name, id}, static_cast<std::int64_t>(target_in(state, wanted, queue))});
    }
    return {};
}

/// Header of 220.
struct ClientReset {
    const ResetRequest& reset;
    void write(remoting::CommandWriter& writer) const {
        writer.field("topic", reset.topic);
        writer.field("group", reset.group);
        writer.field("timestamp", reset.timestamp);
        writer.field("queueId", std::int64_t{reset.queue_id});
        writer.flag("isForce", reset.forward_too);
    }
};

/// An administrator who speaks for C++ clients expects that they are told; the others learn it with their next pull.
void tell_cpp_members(DispatchState& state, const ResetRequest& wanted, const std::vector<remoting::QueueOffset>& targets) {
    const GroupTable::Group* group = state.groups.find(wanted.group);
    if (group == nullptr) return;
    const std::string body = remoting::offset_list_json(targets);
    for (const GroupTable::Member& member : group->members)
        if (member.language == remoting::language_cpp)
            state.tell(member.connection, remoting::RequestCode::reset_consumer_client_offset, ClientReset{wanted}, body);
}

/// The positions that are being changed go into the log; the request succeeds with `body` when they are durable.
void store_and_succeed(DispatchState& state, const Request& request, std::string body) {
    if (!store_positions(state, request.now))
        return state.refuse(request, ResponseCode::system_busy,
                            "[OVERLOAD] the log did not take the new positions; they are tried again, and so may you");
    state.awaited.add(state, state.positions_ticket, 0, std::nullopt,
                      [to = ReplyTo{request}, body = std::move(body)](DispatchState& later, const Refusal& refused) {
                          if (refused.refused()) return later.refuse(to, refused.code, refused.remark);
                          later.answer(to, ResponseCode::success, remoting::NoFields{}, body);
                      });
}

void append_positions(DispatchState& state, std::string& json) {
    // By topic and group, as the original's file has them.
    std::map<std::string, std::map<std::int32_t, std::uint64_t>> table;
    for (const auto& [group, positions] : state.positions)
        for (const auto& [queue, position] : positions) {
            const Log::QueueName name = state.log.queue_name(queue);
            table[std::string{name.topic}.append("@").append(group)][name.queue_id] = position.offset;
        }
    bool first = true;
    for (const auto& [key, offsets] : table) {
        if (!std::exchange(first, false)) json += ",";
        remoting::append_json_text(json, key);
        json += ":{";
        bool first_queue = true;
        for (const auto& [queue_id, offset] : offsets) {
            if (!std::exchange(first_queue, false)) json += ",";
            json.append("\"").append(std::to_string(queue_id)).append("\":").append(std::to_string(offset));
        }
        json += "}";
        if (json.size() > listing_bytes_max) return;
    }
}

}  // namespace

static void handle_reset(DispatchState& state, const Request& request) {
    ResetRequest wanted;
    if (const Refusal refusal = decode(request.command, wanted); refusal.refused())
        return state.refuse(request, refusal.code, refusal.remark);
    const Topic* topic = state.find_topic(wanted.topic);
    if (topic == nullptr)
        return state.refuse(request, ResponseCode::topic_not_exist, "Topic " + shown(wanted.topic) + " does not exist");
    if (find_group_config(state, wanted.group) == nullptr)
        return state.refuse(request, ResponseCode::subscription_group_not_exist,
                            "Group " + shown(wanted.group) + " does not exist");
    std::vector<remoting::QueueOffset> targets;
    if (const Refusal refusal = targets_of(state, wanted, *topic, targets); refusal.refused())
        return state.refuse(request, refusal.code, refusal.remark);
    for (const remoting::QueueOffset& target : targets)
        reset_position(state, wanted.group, topic->queues[static_cast<std::size_t>(target.queue.queue_id)],
                       static_cast<std::uint64_t>(target.offset), request.now);
    store_and_succeed(state, request, remoting::offset_table_json(targets));
    if (request.command.language == remoting::language_cpp) tell_cpp_members(state, wanted, targets);
    for (const remoting::QueueOffset& target : targets)
        answer_parked_resets(state, wanted.group, topic->queues[static_cast<std::size_t>(target.queue.queue_id)],
                             request.now);
}

static void handle_clone(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view from = fields.text("srcGroup");
    const std::string_view to = fields.text("destGroup");
    const std::string_view only_topic = fields.text_or("topic", "");
    const bool offline = fields.flag_or("offline", false);
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    Refusal refusal;
    if (require_group(state, to, refusal) == nullptr) return state.refuse(request, refusal.code, refusal.remark);
    const GroupTable::Group* source = state.groups.find(from);
    std::vector<std::pair<QueueHandle, std::uint64_t>> copied;
    if (const auto positions = state.positions.find(from); positions != state.positions.end()) {
        for (const auto& [queue, position] : positions->second) {
            const std::string_view topic = state.log.queue_name(queue).topic;
            if (!only_topic.empty() && topic != only_topic) continue;
            // What an online group no longer subscribes to is not where it "stands".
            if (!offline && source != nullptr && !source->subscriptions.empty() && !source->subscriptions.contains(topic))
                continue;
            copied.emplace_back(queue, position.offset);
        }
    }
    for (const auto& [queue, offset] : copied) reset_position(state, to, queue, offset, request.now);
    if (copied.empty()) return state.succeed(request);
    store_and_succeed(state, request, {});
    for (const auto& [queue, offset] : copied) answer_parked_resets(state, to, queue, request.now);
}

static void handle_all_positions(DispatchState& state, const Request& request) {
    std::string json = R"({"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"offsetTable":{)";
    append_positions(state, json);
    if (json.size() > listing_bytes_max)
        return state.refuse(request, ResponseCode::system_error,
                            "the positions of all groups do not fit into one answer; ask for one group (208)");
    state.succeed(request, json + "}}");
}

void add_reset_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::invoke_broker_to_reset_offset, handle_reset);
    table.add(RequestCode::clone_group_offset, handle_clone);
    table.add(RequestCode::get_all_consumer_offset, handle_all_positions);
}

}  // namespace hufu::broker
