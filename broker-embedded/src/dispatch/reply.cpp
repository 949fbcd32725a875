// Replies to requests: 324 and 325 from the responder, 326 to the requester.
#include <algorithm>
#include <memory>
#include <optional>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>

#include "group_handlers.hpp"
#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

using remoting::SendRequest;
namespace property = remoting::property;

constexpr std::chrono::milliseconds push_wait{2500};  // responders give a send 3 s

/// Header of 326 (ReplyMessageRequestHeader).
struct PushReply {
    const SendRequest& send;
    std::int32_t queue_id;
    std::string_view properties;
    std::string born_host;
    std::string store_host;
    std::int64_t stored_at_ms;

    void write(remoting::CommandWriter& writer) const {
        writer.field("producerGroup", send.producer_group);
        writer.field("topic", send.topic);
        writer.field("defaultTopic", send.default_topic);
        writer.field("defaultTopicQueueNums", send.default_topic_queues);
        writer.field("queueId", queue_id);
        writer.field("sysFlag", send.sys_flag);
        writer.field("bornTimestamp", send.born_timestamp);
        writer.field("flag", send.flag);
        writer.field("properties", properties);
        writer.field("reconsumeTimes", send.reconsume_times);
        writer.flag("unitMode", send.unit_mode);
        writer.field("bornHost", born_host);
        writer.field("storeHost", store_host);
        writer.field("storeTimestamp", stored_at_ms);
    }
};

/// A reply under way. Answered when both are known: what the requester said, and what the log said.
struct Reply {
    ReplyTo to;
    std::int32_t queue_id = 0;
    std::optional<Refusal> pushed = {};
    std::optional<Refusal> stored = {};
    Appended place = {};
};

void answer_when_known(DispatchState& state, const Reply& reply) {
    if (!reply.pushed || !reply.stored) return;
    if (reply.pushed->refused()) return state.refuse(reply.to, reply.pushed->code, reply.pushed->remark);
    // The requester has its reply; a copy that the log refused is no reason to send it again.
    const bool stored = !reply.stored->refused();
    const remoting::OffsetMessageId id{state.options.advertised,
                                       stored ? static_cast<std::int64_t>(reply.place.log_offset) : 0};
    const std::string text = id.to_string();
    remoting::SendResponse header;
    header.message_id = text;
    header.queue_id = reply.queue_id;
    header.queue_offset = stored ? static_cast<std::int64_t>(reply.place.queue_offset) : 0;
    state.answer(reply.to, ResponseCode::success, header);
}

Refusal outcome_of(const ClientCalls::Ended& ended, const std::string& requester) {
    if (ended.end == ClientCalls::End::answered && ended.answer->response_code() == ResponseCode::success) return {};
    std::string why = "it did not answer";
    if (ended.end == ClientCalls::End::disconnected) why = "its connection closed";
    if (ended.end == ClientCalls::End::answered)
        why = "it answered " + std::to_string(ended.answer->code) + " " + std::string{ended.answer->remark.substr(0, 200)};
    return {ResponseCode::system_error, "push reply message to " + requester + " fail: " + why};
}

/// Sends the reply to whoever asked; `reply->pushed` is set now or later.
void push(DispatchState& state, const Request& request, const SendRequest& send, std::shared_ptr<Reply> reply) {
    const std::string requester{
        remoting::PropertiesView{send.properties}.get(property::reply_to_client).value_or("").substr(0, 1024)};
    if (requester.empty()) {
        reply->pushed = Refusal{ResponseCode::system_error,
                                "reply message properties[" + std::string{property::reply_to_client} + "] is null"};
        return;
    }
    const auto connection = state.groups.find_producer(requester);
    if (!connection) {
        reply->pushed = Refusal{ResponseCode::system_error, "push reply message fail, channel of <" + requester +
                                                                "> not found: it sent no heartbeat here, or is gone"};
        return;
    }
    const std::int64_t now_ms = wall_ms(state);
    std::string properties{send.properties};
    if (!properties.empty() && properties.back() != remoting::property_separator)
        properties.push_back(remoting::property_separator);
    remoting::append_property(properties, property::push_reply_time, std::to_string(now_ms));
    const Session* session = state.find(request.connection);
    const PushReply header{send,
                           reply->queue_id,
                           properties,
                           host_text(session == nullptr ? remoting::Host{} : session->peer),
                           host_text(state.options.advertised),
                           now_ms};
    const auto called =
        state.call(*connection, remoting::RequestCode::push_reply_message_to_client, header, request.command.body,
                   request.now + push_wait, [reply, requester](DispatchState& later, const ClientCalls::Ended& ended) {
                       reply->pushed = outcome_of(ended, requester);
                       answer_when_known(later, *reply);
                   });
    if (!called)
        reply->pushed =
            Refusal{ResponseCode::system_error, "push reply message to " + requester + " fail: " + called.error().text()};
}

/// Keeps the reply in the reply topic; `reply->stored` is set now or later.
void keep(DispatchState& state, const Request& request, const SendRequest& send, const Topic& topic,
          std::shared_ptr<Reply> reply) {
    Traits traits;
    if (Refusal refusal = read_properties(send.properties, traits); refusal.refused()) {
        reply->stored = std::move(refusal);
        return;
    }
    const Session* session = state.find(request.connection);
    remoting::Record record;
    record.topic = topic.name;
    record.queue_id = reply->queue_id;
    record.flag = send.flag;
    record.sys_flag = send.sys_flag;
    record.born_timestamp = send.born_timestamp;
    record.born_host = session == nullptr ? remoting::Host{} : session->peer;
    record.store_host = state.options.advertised;
    record.reconsume_times = send.reconsume_times;
    record.body = request.command.body;
    record.properties = send.properties;
    const QueueHandle queue = topic.queues[static_cast<std::size_t>(reply->queue_id)];
    const auto appended = store(state, queue, record, traits);
    if (!appended) {
        reply->stored = refusal_of(appended.error());
        return;
    }
    reply->place = *appended;
    state.awaited.add(state, appended->ticket, remoting::record_size(record), queue,
                      [reply](DispatchState& later, const Refusal& refused) {
                          reply->stored = refused;
                          answer_when_known(later, *reply);
                      });
}

/// The topic that replies are kept in; null with a refusal.
Topic* reply_topic(DispatchState& state, const SendRequest& send, Refusal& refusal) {
    const std::string name = state.options.cluster + "_REPLY_TOPIC";
    if (send.topic != name) {
        refusal = {ResponseCode::invalid_parameter, "a reply goes to topic \"" + name + "\", not to \"" +
                                                        std::string{send.topic.substr(0, derived_topic_length_max)} + "\""};
        return nullptr;
    }
    if (Topic* topic = state.find_topic(name); topic != nullptr) return topic;
    auto made = state.create_topic(name, 1);
    if (made) return *made;
    refusal = refusal_of(made.error());
    return nullptr;
}

}  // namespace

static void handle_reply(DispatchState& state, const Request& request) {
    const auto send = SendRequest::decode(request.command);
    if (!send) return state.refuse(request, ResponseCode::invalid_parameter, send.error().text());
    if (request.command.body.size() > remoting::body_bytes_max)
        return state.refuse(request, ResponseCode::message_illegal,
                            "the body has " + std::to_string(request.command.body.size()) + " bytes; at most " +
                                std::to_string(remoting::body_bytes_max) + " are allowed");
    if (send->properties.size() > remoting::properties_bytes_max)
        return state.refuse(request, ResponseCode::message_illegal, "the properties are too long");
    Refusal refusal;
    Topic* topic = reply_topic(state, *send, refusal);
    if (topic == nullptr) return state.refuse(request, refusal.code, refusal.remark);
    if (send->queue_id >= topic->write_queues)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "topic \"" + topic->name + "\" has queues 0 to " + std::to_string(topic->write_queues - 1) +
                                ", not " + std::to_string(send->queue_id));
    auto reply = std::make_shared<Reply>(Reply{ReplyTo{request}, std::max(send->queue_id, 0)});
    push(state, request, *send, reply);
    keep(state, request, *send, *topic, reply);
    answer_when_known(state, *reply);
}

void add_reply_handlers(HandlerTable& table) {
    table.add(remoting::RequestCode::send_reply_message, handle_reply);
    table.add(remoting::RequestCode::send_reply_message_v2, handle_reply);
}

}  // namespace hufu::broker
