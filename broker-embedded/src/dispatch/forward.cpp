// What the broker asks a consumer for an administrator: 223 (221 to each member), 307, 309.
#include <memory>
#include <utility>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/object_map.hpp>

#include "message_source.hpp"
#include "group_handlers.hpp"
#include "names.hpp"
#include "request_fields.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::chrono::seconds forward_wait{10};
constexpr std::chrono::milliseconds status_wait{4500};  // the tools give up after 5 s
constexpr std::int32_t oldest_asked = 62;               // V3_1_8_SNAPSHOT

std::string shown(std::string_view text) { return std::string{text.substr(0, 200)}; }

/// The fields of another command, and some beside them.
struct ForwardedFields {
    const remoting::CommandView& command;
    std::vector<std::pair<std::string_view, std::string>> more = {};

    void write(remoting::CommandWriter& writer) const {
        for (const auto& entry : command.fields.entries())
            if (!replaced(entry.name)) writer.field(entry.name, entry.value);
        for (const auto& [name, value] : more) writer.field(name, value);
    }
    [[nodiscard]] bool replaced(std::string_view name) const {
        // What authenticated the administrator is not the consumer's business.
        if (name == "Signature" || name == "AccessKey" || name == "SecurityToken") return true;
        for (const auto& [other, value] : more)
            if (other == name) return true;
        return false;
    }
};

void pass_on(DispatchState& state, const ReplyTo& to, const std::string& client, const ClientCalls::Ended& ended) {
    switch (ended.end) {
        case ClientCalls::End::answered:
            return state.answer(to, ended.answer->response_code(), remoting::NoFields{}, ended.answer->body,
                                ended.answer->remark);
        case ClientCalls::End::timed_out:
            return state.refuse(
                to, ResponseCode::consume_message_timeout,
                "consumer " + client + " did not answer within " + std::to_string(forward_wait.count()) + " s");
        case ClientCalls::End::disconnected:
            return state.refuse(to, ResponseCode::system_error, "the connection of consumer " + client + " closed");
    }
}

void forward(DispatchState& state, const Request& request, std::string_view group_name, std::string_view client_id,
             const ForwardedFields& fields, std::string_view body) {
    const std::string client = "<" + shown(group_name) + "> <" + shown(client_id) + ">";
    const GroupTable::Group* group = state.groups.find(group_name);
    const GroupTable::Member* member = nullptr;
    if (group != nullptr) member = client_id.empty() ? &group->members.front() : group->find(client_id);
    if (member == nullptr)
        return state.refuse(request, ResponseCode::system_error, "The Consumer " + client + " not online");
    if (member->version < oldest_asked)
        return state.refuse(request, ResponseCode::system_error,
                            "The Consumer " + client + " Version <" + std::to_string(member->version) +
                                "> too low to finish, please upgrade it to V3_1_8_SNAPSHOT");
    const auto called =
        state.call(member->connection, request.command.request_code(), fields, body, request.now + forward_wait,
                   [to = ReplyTo{request}, client](DispatchState& later, const ClientCalls::Ended& ended) {
                       pass_on(later, to, client, ended);
                   });
    if (!called)
        state.refuse(request, ResponseCode::system_error, "invoke consumer " + client + ": " + called.error().text());
}

/// Positions in memory, gathered from the members of a group.
struct GatheredStatus {
    ReplyTo to;
    std::size_t open = 0;  ///< members that have not answered
    std::string json = R"({"consumerTable":{)";
    bool any = false;

    void add(const std::string& client_id, const std::vector<remoting::QueueMapEntry>& table) {
        if (std::exchange(any, true)) json += ",";
        remoting::append_json_text(json, client_id);
        json += ":";
        remoting::QueueMapWriter map{json};
        for (const remoting::QueueMapEntry& entry : table) map.add(entry.queue, entry.number());
        map.finish();
    }
    void answer_when_whole(DispatchState& state) const {
        if (open == 0) state.answer(to, ResponseCode::success, remoting::NoFields{}, json + "}}");
    }
};

struct StatusRequest {
    std::string_view topic;
    std::string_view group;
    void write(remoting::CommandWriter& writer) const {
        writer.field("topic", topic);
        writer.field("group", group);
    }
};

/// Asks one member; false when it cannot be asked.
bool ask_status(DispatchState& state, const GroupTable::Member& member, const StatusRequest& header, SteadyTime now,
                const std::shared_ptr<GatheredStatus>& gathered) {
    const auto then = [gathered, id = member.client_id](DispatchState& later, const ClientCalls::Ended& ended) {
        --gathered->open;
        if (ended.end == ClientCalls::End::answered && ended.answer->response_code() == ResponseCode::success) {
            if (const auto table = remoting::read_queue_map(ended.answer->body, "messageQueueTable"); table)
                gathered->add(id, *table);
        }
        gathered->answer_when_whole(later);
    };
    return state
        .call(member.connection, remoting::RequestCode::get_consumer_status_from_client, header, {}, now + status_wait, then)
        .has_value();
}

}  // namespace

static void handle_running_info(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view group = fields.text("consumerGroup");
    const std::string_view client_id = fields.text("clientId");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    forward(state, request, group, client_id, ForwardedFields{request.command}, {});
}

static void handle_consume_directly(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view group = fields.text("consumerGroup");
    const std::string_view message_id = fields.text("msgId");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const auto id = remoting::OffsetMessageId::parse(message_id);
    if (!id)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "msgId \"" + shown(message_id) + "\" is no offset message id (32 hexadecimal digits)");
    remoting::Record record;
    Refusal refusal;
    if (!read_message(state, id->offset, record, refusal)) return state.refuse(request, refusal.code, refusal.remark);
    ForwardedFields forwarded{request.command, {{"brokerName", state.options.broker_name}}};
    if (const Topic* topic = state.find_topic(fields.text_or("topic", "")); topic != nullptr)
        forwarded.more.emplace_back("topicSysFlag", std::to_string(topic->sys_flag));
    if (const auto* config = find_group_config(state, group); config != nullptr)
        forwarded.more.emplace_back("groupSysFlag", std::to_string(config->sys_flag));
    forward(state, request, group, fields.text_or("clientId", ""), forwarded,
            {reinterpret_cast<const char*>(state.read_bytes.data()), state.read_bytes.size()});
}

static void handle_consumer_status(DispatchState& state, const Request& request) {
    RequestFields fields{request.command};
    const std::string_view topic = fields.text("topic");
    const std::string_view name = fields.text("group");
    const std::string_view client_id = fields.text_or("clientAddr", "");
    if (!fields.fault().empty()) return state.refuse(request, ResponseCode::invalid_parameter, fields.fault());
    const GroupTable::Group* group = state.groups.find(name);
    if (group == nullptr)
        return state.refuse(request, ResponseCode::system_error,
                            "No Any Consumer online in the consumer group: [" + shown(name) + "]");
    auto gathered = std::make_shared<GatheredStatus>(GatheredStatus{ReplyTo{request}});
    for (const GroupTable::Member& member : group->members) {
        // C++ clients do not know this question and would only be waited for.
        if (member.language == remoting::language_cpp || (!client_id.empty() && member.client_id != client_id)) continue;
        if (ask_status(state, member, {topic, name}, request.now, gathered)) ++gathered->open;
    }
    gathered->answer_when_whole(state);
}

void add_forward_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::get_consumer_running_info, handle_running_info);
    table.add(RequestCode::consume_message_directly, handle_consume_directly);
    table.add(RequestCode::invoke_broker_to_get_consumer_status, handle_consumer_status);
}

}  // namespace hufu::broker
