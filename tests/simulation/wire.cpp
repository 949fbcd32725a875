#include "wire.hpp"

#include <algorithm>
#include <span>

#include <hufu/remoting/checksum.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::simulation {

using remoting::RequestCode;

std::vector<WireCommand> decode_commands(std::string_view bytes) {
    std::vector<WireCommand> commands;
    remoting::FrameDecoder decoder;
    while (!bytes.empty()) {
        const auto room = decoder.prepare();
        const auto count = std::min(room.size(), bytes.size());
        std::copy_n(bytes.begin(), count, room.begin());
        decoder.commit(count);
        bytes.remove_prefix(count);
        for (auto frame = decoder.next().value(); frame; frame = decoder.next().value()) {
            remoting::CommandView view;
            remoting::decode_command(*frame, view).value();
            WireCommand command;
            command.code = view.code;
            command.opaque = view.opaque;
            command.response = view.is_response();
            command.remark = view.remark;
            for (const auto& entry : view.fields.entries()) command.fields.emplace_back(entry.name, entry.value);
            command.body = view.body;
            commands.push_back(std::move(command));
        }
    }
    return commands;
}

std::string producer_group(std::string_view group, std::string_view handler) {
    std::string name{group};
    if (!handler.empty()) name.append("%").append(handler);
    return name;
}

std::string half_frame(const txmsg::HalfContext& context, const Message& message, std::int32_t queue, std::int32_t opaque) {
    namespace property = remoting::property;
    const std::string group = producer_group(context.group, context.handler);
    std::string properties;
    remoting::append_property(properties, property::unique_key, remoting::unique_key(message.id));
    remoting::append_property(properties, property::transaction_prepared, "true");
    remoting::append_property(properties, property::producer_group, group);
    remoting::append_property(properties, property::hufu_transaction_id, context.transaction.to_string());
    if (!context.store.empty()) remoting::append_property(properties, property::hufu_verdict_store, context.store);
    if (message.deliver_at) {
        const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(message.deliver_at->time_since_epoch());
        remoting::append_property(properties, property::timer_deliver_ms, std::to_string(at.count()));
    }
    remoting::SendRequest header;
    header.producer_group = group;
    header.topic = message.topic;
    header.default_topic_queues = 2;
    header.queue_id = queue;
    header.sys_flag = remoting::sys_flag::transaction_prepared;
    header.properties = properties;
    return request_frame(RequestCode::send_message_v2, opaque, header, message.body);
}

std::string HalfAddress::token() const { return std::to_string(queue_offset) + "/" + std::to_string(log_offset); }

HalfAddress HalfAddress::of_token(std::string_view token) {
    const auto slash = token.find('/');
    return {remoting::parse_integer(token.substr(0, slash)).value_or(-1),
            remoting::parse_integer(token.substr(slash + 1)).value_or(-1)};
}

std::optional<HalfAddress> address_in_answer(const WireCommand& answer) {
    const auto place = remoting::OffsetMessageId::parse(answer.field("msgId"));
    const auto offset = remoting::parse_integer(answer.field("queueOffset"));
    if (!place || !offset) return std::nullopt;
    return HalfAddress{*offset, place->offset};
}

std::string end_frame(const EndWords& words, std::int32_t opaque, bool one_way) {
    remoting::EndTransactionRequest header;
    header.producer_group = words.group;
    header.half_queue_offset = words.half.queue_offset;
    header.half_log_offset = words.half.log_offset;
    header.verdict = words.verdict == txmsg::Verdict::commit     ? remoting::sys_flag::transaction_commit
                     : words.verdict == txmsg::Verdict::rollback ? remoting::sys_flag::transaction_rollback
                                                                 : remoting::sys_flag::transaction_none;
    header.from_check = words.from_check;
    header.transaction_id = words.transaction;
    header.reason = words.reason;
    return request_frame(RequestCode::end_transaction, opaque, header, {}, one_way);
}

std::vector<SeenMessage> pulled_messages(const WireCommand& answer) {
    std::vector<SeenMessage> messages;
    for (auto rest = std::as_bytes(std::span{answer.body}); !rest.empty();) {
        const auto record = remoting::decode_record(rest);
        if (!record) {
            messages.push_back({{}, 0, "not a record", false});
            break;
        }
        const auto id = remoting::PropertiesView{record->properties}.get(remoting::property::unique_key);
        messages.push_back({std::string{id.value_or("")}, static_cast<std::uint64_t>(record->queue_offset),
                            std::string{record->body}, remoting::body_checksum(record->body) == record->body_crc});
        rest = rest.subspan(remoting::record_size(*record));
    }
    return messages;
}

}  // namespace hufu::simulation
