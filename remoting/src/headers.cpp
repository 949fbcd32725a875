#include <hufu/remoting/headers.hpp>

#include <string>

#include "field_reader.hpp"

namespace hufu::remoting {

using header_fields::Reader;

namespace {

/// The one-letter name of a field of 10, '\0' for others.
char short_name(std::string_view name) noexcept {
    struct Pair {
        std::string_view name;
        char letter;
    };
    static constexpr Pair pairs[] = {
        {"producerGroup", 'a'}, {"topic", 'b'},          {"defaultTopic", 'c'},  {"defaultTopicQueueNums", 'd'},
        {"queueId", 'e'},       {"sysFlag", 'f'},        {"bornTimestamp", 'g'}, {"flag", 'h'},
        {"properties", 'i'},    {"reconsumeTimes", 'j'}, {"unitMode", 'k'},      {"maxReconsumeTimes", 'l'},
        {"batch", 'm'},         {"bname", 'n'}};
    for (const Pair& pair : pairs) {
        if (pair.name == name) {
            return pair.letter;
        }
    }
    return '\0';
}

}  // namespace

Result<SendRequest> SendRequest::decode(const CommandView& command) {
    // The hot path of a broker: one pass over the fields as they come, no look-ups.
    const bool long_names =
        command.request_code() == RequestCode::send_message || command.request_code() == RequestCode::send_reply_message;
    constexpr std::uint32_t all_required = 0xFF;  // a to h
    std::uint32_t seen = 0;
    SendRequest request;
    Reader reader{command};
    for (const Fields::Entry& entry : command.fields.entries()) {
        const char letter = long_names ? short_name(entry.name) : entry.name.size() == 1 ? entry.name.front() : '\0';
        switch (letter) {
            case 'a': request.producer_group = entry.value; break;
            case 'b': request.topic = entry.value; break;
            case 'c': request.default_topic = entry.value; break;
            case 'd': reader.number(entry.name, entry.value, request.default_topic_queues); break;
            case 'e': reader.number(entry.name, entry.value, request.queue_id); break;
            case 'f': reader.number(entry.name, entry.value, request.sys_flag); break;
            case 'g': reader.number(entry.name, entry.value, request.born_timestamp); break;
            case 'h': reader.number(entry.name, entry.value, request.flag); break;
            case 'i': request.properties = entry.value; break;
            case 'j': reader.number(entry.name, entry.value, request.reconsume_times); break;
            case 'k': request.unit_mode = parse_boolean(entry.value); break;
            case 'l': reader.number(entry.name, entry.value, request.reconsume_times_max.emplace()); break;
            case 'm': request.batch = parse_boolean(entry.value); break;
            case 'n': request.broker_name = entry.value; break;
            default: continue;
        }
        if (letter <= 'h') {
            seen |= 1U << static_cast<unsigned>(letter - 'a');
        }
    }
    if (seen != all_required) {
        static constexpr std::string_view names[] = {"producerGroup (a)",         "topic (b)",   "defaultTopic (c)",
                                                     "defaultTopicQueueNums (d)", "queueId (e)", "sysFlag (f)",
                                                     "bornTimestamp (g)",         "flag (h)"};
        for (unsigned i = 0; i < 8; ++i) {
            if ((seen & 1U << i) == 0) {
                reader.missing(names[i]);
                break;
            }
        }
    }
    return reader.finish(request);
}

void SendRequest::write(CommandWriter& writer) const {
    writer.field("a", producer_group);
    writer.field("b", topic);
    writer.field("c", default_topic);
    writer.field("d", default_topic_queues);
    writer.field("e", queue_id);
    writer.field("f", sys_flag);
    writer.field("g", born_timestamp);
    writer.field("h", flag);
    if (!properties.empty()) {
        writer.field("i", properties);
    }
    writer.field("j", reconsume_times);
    writer.flag("k", unit_mode);
    if (reconsume_times_max) {
        writer.field("l", *reconsume_times_max);
    }
    writer.flag("m", batch);
    if (!broker_name.empty()) {
        writer.field("n", broker_name);
    }
}

Result<SendResponse> SendResponse::decode(const CommandView& command) {
    SendResponse response;
    return Reader{command}
        .required("msgId", response.message_id)
        .required("queueId", response.queue_id)
        .required("queueOffset", response.queue_offset)
        .optional("transactionId", response.transaction_id)
        .optional("DURABILITY", response.durability)
        .optional("recallHandle", response.recall_handle)
        .finish(response);
}

void SendResponse::write(CommandWriter& writer) const {
    writer.field("msgId", message_id);
    writer.field("queueId", queue_id);
    writer.field("queueOffset", queue_offset);
    if (!transaction_id.empty()) {
        writer.field("transactionId", transaction_id);
    }
    if (!durability.empty()) {
        writer.field("DURABILITY", durability);
    }
    if (!recall_handle.empty()) {
        writer.field("recallHandle", recall_handle);
    }
}

Result<PullRequest> PullRequest::decode(const CommandView& command) {
    PullRequest request;
    return Reader{command}
        .required("consumerGroup", request.consumer_group)
        .required("topic", request.topic)
        .required("queueId", request.queue_id)
        .required("queueOffset", request.queue_offset)
        .required("maxMsgNums", request.messages_max)
        .required("sysFlag", request.sys_flag)
        .required("commitOffset", request.commit_offset)
        .required("suspendTimeoutMillis", request.suspend_timeout_ms)
        .optional("subscription", request.subscription)
        .required("subVersion", request.sub_version)
        .optional("expressionType", request.expression_type)
        .optional("maxMsgBytes", request.bytes_max)
        .finish(request);
}

void PullRequest::write(CommandWriter& writer) const {
    writer.field("consumerGroup", consumer_group);
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
    writer.field("queueOffset", queue_offset);
    writer.field("maxMsgNums", messages_max);
    writer.field("sysFlag", sys_flag);
    writer.field("commitOffset", commit_offset);
    writer.field("suspendTimeoutMillis", suspend_timeout_ms);
    if (!subscription.empty()) {
        writer.field("subscription", subscription);
    }
    writer.field("subVersion", sub_version);
    writer.field("expressionType", expression_type);
    if (bytes_max) {
        writer.field("maxMsgBytes", *bytes_max);
    }
}

Result<PullResponse> PullResponse::decode(const CommandView& command) {
    PullResponse response;
    return Reader{command}
        .optional("suggestWhichBrokerId", response.suggest_which_broker_id)
        .required("nextBeginOffset", response.next_begin_offset)
        .required("minOffset", response.min_offset)
        .required("maxOffset", response.max_offset)
        .finish(response);
}

void PullResponse::write(CommandWriter& writer) const {
    writer.field("suggestWhichBrokerId", suggest_which_broker_id);
    writer.field("nextBeginOffset", next_begin_offset);
    writer.field("minOffset", min_offset);
    writer.field("maxOffset", max_offset);
}

Result<ViewMessageRequest> ViewMessageRequest::decode(const CommandView& command) {
    ViewMessageRequest request;
    return Reader{command}.required("offset", request.offset).finish(request);
}

void ViewMessageRequest::write(CommandWriter& writer) const { writer.field("offset", offset); }

Result<QueryMessageRequest> QueryMessageRequest::decode(const CommandView& command) {
    QueryMessageRequest request;
    return Reader{command}
        .required("topic", request.topic)
        .required("key", request.key)
        .required("maxNum", request.messages_max)
        .required("beginTimestamp", request.begin_timestamp)
        .required("endTimestamp", request.end_timestamp)
        .optional("_UNIQUE_KEY_QUERY", request.unique_key)
        .finish(request);
}

void QueryMessageRequest::write(CommandWriter& writer) const {
    writer.field("topic", topic);
    writer.field("key", key);
    writer.field("maxNum", messages_max);
    writer.field("beginTimestamp", begin_timestamp);
    writer.field("endTimestamp", end_timestamp);
    writer.flag("_UNIQUE_KEY_QUERY", unique_key);
}

Result<QueryMessageResponse> QueryMessageResponse::decode(const CommandView& command) {
    QueryMessageResponse response;
    return Reader{command}
        .required("indexLastUpdateTimestamp", response.index_timestamp)
        .required("indexLastUpdatePhyoffset", response.index_offset)
        .finish(response);
}

void QueryMessageResponse::write(CommandWriter& writer) const {
    writer.field("indexLastUpdateTimestamp", index_timestamp);
    writer.field("indexLastUpdatePhyoffset", index_offset);
}

Result<QueryConsumeQueueRequest> QueryConsumeQueueRequest::decode(const CommandView& command) {
    QueryConsumeQueueRequest request;
    return Reader{command}
        .required("topic", request.topic)
        .required("queueId", request.queue_id)
        .required("index", request.index)
        .required("count", request.count)
        .optional("consumerGroup", request.consumer_group)
        .finish(request);
}

void QueryConsumeQueueRequest::write(CommandWriter& writer) const {
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
    writer.field("index", index);
    writer.field("count", count);
    if (!consumer_group.empty()) writer.field("consumerGroup", consumer_group);
}

Result<QueryOffsetRequest> QueryOffsetRequest::decode(const CommandView& command) {
    QueryOffsetRequest request;
    return Reader{command}
        .required("consumerGroup", request.consumer_group)
        .required("topic", request.topic)
        .required("queueId", request.queue_id)
        .optional("setZeroIfNotFound", request.set_zero_if_not_found)
        .finish(request);
}

void QueryOffsetRequest::write(CommandWriter& writer) const {
    writer.field("consumerGroup", consumer_group);
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
    if (set_zero_if_not_found) {
        writer.flag("setZeroIfNotFound", *set_zero_if_not_found);
    }
}

Result<UpdateOffsetRequest> UpdateOffsetRequest::decode(const CommandView& command) {
    UpdateOffsetRequest request;
    return Reader{command}
        .required("consumerGroup", request.consumer_group)
        .required("topic", request.topic)
        .required("queueId", request.queue_id)
        .required("commitOffset", request.commit_offset)
        .finish(request);
}

void UpdateOffsetRequest::write(CommandWriter& writer) const {
    writer.field("consumerGroup", consumer_group);
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
    writer.field("commitOffset", commit_offset);
}

Result<QueueRequest> QueueRequest::decode(const CommandView& command) {
    QueueRequest request;
    return Reader{command}.required("topic", request.topic).required("queueId", request.queue_id).finish(request);
}

void QueueRequest::write(CommandWriter& writer) const {
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
}

Result<SearchOffsetRequest> SearchOffsetRequest::decode(const CommandView& command) {
    SearchOffsetRequest request;
    std::string_view boundary = "lower";
    Reader reader{command};
    reader.required("topic", request.topic)
        .required("queueId", request.queue_id)
        .required("timestamp", request.timestamp)
        .optional("boundaryType", boundary);
    request.upper = boundary == "upper" || boundary == "UPPER";
    return reader.finish(request);
}

void SearchOffsetRequest::write(CommandWriter& writer) const {
    writer.field("topic", topic);
    writer.field("queueId", queue_id);
    writer.field("timestamp", timestamp);
    if (upper) {
        writer.field("boundaryType", "upper");
    }
}

Result<OffsetResponse> OffsetResponse::decode(const CommandView& command) {
    OffsetResponse response;
    return Reader{command}.required("offset", response.offset).finish(response);
}

void OffsetResponse::write(CommandWriter& writer) const { writer.field("offset", offset); }

namespace {
constexpr std::string_view supports_v2_name = "IS_SUPPORT_HEART_BEAT_V2";
constexpr std::string_view subscriptions_changed_name = "IS_SUB_CHANGE";
}  // namespace

Result<HeartbeatResponse> HeartbeatResponse::decode(const CommandView& command) {
    HeartbeatResponse response;
    return Reader{command}
        .optional(supports_v2_name, response.supports_v2)
        .optional(subscriptions_changed_name, response.subscriptions_changed)
        .finish(response);
}

void HeartbeatResponse::write(CommandWriter& writer) const {
    writer.flag(supports_v2_name, supports_v2);
    writer.flag(subscriptions_changed_name, subscriptions_changed);
}

Result<UnregisterRequest> UnregisterRequest::decode(const CommandView& command) {
    UnregisterRequest request;
    return Reader{command}
        .required("clientID", request.client_id)
        .optional("producerGroup", request.producer_group)
        .optional("consumerGroup", request.consumer_group)
        .finish(request);
}

void UnregisterRequest::write(CommandWriter& writer) const {
    writer.field("clientID", client_id);
    if (!producer_group.empty()) {
        writer.field("producerGroup", producer_group);
    }
    if (!consumer_group.empty()) {
        writer.field("consumerGroup", consumer_group);
    }
}

Result<GroupRequest> GroupRequest::decode(const CommandView& command) {
    GroupRequest request;
    return Reader{command}.required("consumerGroup", request.consumer_group).finish(request);
}

void GroupRequest::write(CommandWriter& writer) const { writer.field("consumerGroup", consumer_group); }

Result<RouteRequest> RouteRequest::decode(const CommandView& command) {
    RouteRequest request;
    return Reader{command}.required("topic", request.topic).finish(request);
}

void RouteRequest::write(CommandWriter& writer) const { writer.field("topic", topic); }

}  // namespace hufu::remoting
