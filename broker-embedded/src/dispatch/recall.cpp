// Recalling delayed messages: 370.
#include <algorithm>

#include <hufu/core/mutant.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

/// What is read to find a message whose handle does not say where it waits.
constexpr std::size_t candidates_max = 4096;
constexpr std::uint64_t candidate_bytes_max = 16U << 20U;

struct RecallResponse {
    std::string_view message_id;
    void write(remoting::CommandWriter& writer) const { writer.field("msgId", message_id); }
};

/// Names come from the wire and go into remarks.
std::string shown(std::string_view text) {
    std::string result{text.substr(0, 140)};
    std::replace_if(
        result.begin(), result.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    return result;
}

/// Whether the message at this offset is the handle's. Adds what was read to `bytes`.
bool is_message(DispatchState& state, const RecallHandle& handle, std::uint64_t offset, std::uint64_t& bytes) {
    std::vector<std::byte> read;
    const ReadResult result = state.log.read(state.timers.wheel(), offset, {.records_max = 1, .scan_max = 1}, {}, read);
    bytes += read.size();
    if (result.status != ReadStatus::found) return false;
    const auto record = remoting::decode_record(read);
    return record && record->topic == handle.topic &&
           remoting::PropertiesView{record->properties}.get(remoting::property::unique_key) == handle.unique_key;
}

/// Where the message waits. Refused: it does not.
Refusal find_message(DispatchState& state, const RecallHandle& handle, std::uint64_t& offset) {
    std::uint64_t bytes = 0;
    if (handle.offset && is_message(state, handle, *handle.offset, bytes)) {
        offset = *handle.offset;
        if (state.timers.waits_at(offset)) return {};
    } else {
        // Another broker's handle, or retention has moved the message.
        for (const Timer& timer : state.timers.book().due_at(handle.deliver_ms, candidates_max)) {
            if (bytes > candidate_bytes_max) break;
            if (!is_message(state, handle, timer.offset, bytes)) continue;
            offset = timer.offset;
            return {};
        }
    }
    const bool past = handle.deliver_ms <= wall_ms(state);
    return {ResponseCode::illegal_operation,
            "no message with key \"" + shown(handle.unique_key) + "\" waits for topic \"" + shown(handle.topic) +
                (past ? "\": it was due and was delivered, or it was recalled before" : "\" on this broker")};
}

Refusal accept(DispatchState& state, const Request& request) {
    const auto topic = request.command.fields.get("topic");
    const auto text = request.command.fields.get("recallHandle");
    if (!topic || !text) return {ResponseCode::invalid_parameter, "a recall needs the fields topic and recallHandle"};
    const auto handle = RecallHandle::parse(*text);
    if (!handle) return {ResponseCode::illegal_operation, handle.error().text()};
    if (handle->topic != *topic)
        return {ResponseCode::illegal_operation,
                "the recall handle is of topic \"" + shown(handle->topic) + "\", not \"" + shown(*topic) + "\""};
    if (handle->broker_name != state.options.broker_name)
        return {ResponseCode::illegal_operation, "the recall handle is of broker \"" + shown(handle->broker_name) +
                                                     "\"; this is \"" + state.options.broker_name + "\""};
    std::uint64_t offset = 0;
    if (Refusal refusal = find_message(state, *handle, offset); refusal.refused()) return refusal;
    const auto recalled = state.timers.recall(state, offset, handle->unique_key);
    if (!recalled) return refusal_of(recalled.error());
    state.recalls.push_back({recalled->ticket, ReplyTo{request}, handle->unique_key});
    if (mutant_active("timer_recall_answered_before_durable")) settle_recalls(state, Outcome{recalled->ticket, true, {}});
    return {};
}

}  // namespace

static void handle_recall(DispatchState& state, const Request& request) {
    if (const Refusal refusal = accept(state, request); refusal.refused())
        state.refuse(request, refusal.code, refusal.remark);
}

void settle_recalls(DispatchState& state, const Outcome& outcome) {
    while (!state.recalls.empty() && state.recalls.front().ticket <= outcome.through) {
        const PendingRecall recall = std::move(state.recalls.front());
        state.recalls.pop_front();
        if (outcome.durable) {
            state.answer(recall.to, ResponseCode::success, RecallResponse{recall.unique_key});
        } else {
            const Refusal refusal = refusal_of(outcome.error);
            state.refuse(recall.to, refusal.code, refusal.remark);
        }
    }
}

RecallHandle recall_handle_of(const DispatchState& state, const remoting::Record& record, std::int64_t deliver_ms) {
    auto key = remoting::PropertiesView{record.properties}.get(remoting::property::unique_key);
    if (!key || key->empty()) key = remoting::PropertiesView{record.more_properties}.get(remoting::property::unique_key);
    return {std::string{record.topic}, state.options.broker_name, deliver_ms, std::string{key.value_or("")}, {}};
}

void add_recall_handlers(HandlerTable& table) { table.add(remoting::RequestCode::recall_message, handle_recall); }

}  // namespace hufu::broker
