// Storing messages: 10, 310, 320.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/batch.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

#include "names.hpp"
#include "state.hpp"
#include "system_topics.hpp"
#include "timer_records.hpp"

namespace hufu::broker {
namespace {

using remoting::SendRequest;

/// Ids of a batch in its answer: a header has a limit. Clients know messages by their UNIQ_KEY; these are for people.
constexpr std::size_t batch_ids_bytes_max = 32U << 10U;

/// The topic to store in, made when it may be; null with a refusal otherwise.
/// The sender says how many queues it wants at most.
Topic* topic_for(DispatchState& state, std::string_view name, std::int32_t queues_wanted, Refusal& refusal) {
    if (Topic* topic = state.find_topic(name); topic != nullptr) return topic;
    if (std::string fault = topic_name_fault(name); !fault.empty()) {
        refusal = {ResponseCode::invalid_parameter, std::move(fault)};
        return nullptr;
    }
    const auto system = find_system_topic(state.options, name);
    if (name == template_topic || (system && !system->takes_messages)) {
        refusal = {ResponseCode::no_permission, "topic \"" + std::string{name} + "\" is reserved; choose another name"};
        return nullptr;
    }
    const bool derived = is_retry_topic(name) || is_dead_letter_topic(name);
    if (!derived && !system && !state.options.auto_create_topics) {
        refusal = {ResponseCode::topic_not_exist, "topic \"" + std::string{name} +
                                                      "\" does not exist and automatic creation is off; create it, or start "
                                                      "the broker with --auto-create-topics on"};
        return nullptr;
    }
    auto made = system ? state.store_topic(name, system->config)
                       : state.create_topic(name, derived ? 1 : std::clamp(queues_wanted, 1, state.options.default_queues));
    if (!made) {
        refusal = refusal_of(made.error());
        return nullptr;
    }
    return *made;
}

/// A message that failed too often, or that comes from an orderly group, goes to the group's dead letters.
bool belongs_to_dead_letters(DispatchState& state, const SendRequest& header, SteadyTime now, Refusal& refusal) {
    if (!is_retry_topic(header.topic)) return false;
    const std::string_view group = header.topic.substr(retry_prefix.size());
    const remoting::GroupConfig* config = require_group(state, group, refusal);
    if (config == nullptr) return false;
    const std::int32_t attempts_max = header.reconsume_times_max.value_or(config->retry_times_max);
    return header.reconsume_times > attempts_max || state.locks.any_held(group, now);
}

/// A record's fields that come from the request and its connection.
remoting::Record record_of(const DispatchState& state, const SendRequest& header, const remoting::Host& peer) {
    remoting::Record record;
    record.flag = header.flag;
    record.sys_flag = header.sys_flag;
    record.born_timestamp = header.born_timestamp;
    record.born_host = peer;
    record.store_host = state.options.advertised;
    record.reconsume_times = header.reconsume_times;
    return record;
}

void answer_stored(DispatchState& state, const PendingSend& send) {
    Session* session = state.find(send.connection);
    if (session == nullptr) return;
    const std::size_t before = session->output.size();
    char id[remoting::OffsetMessageId::size];
    remoting::OffsetMessageId{state.options.advertised, static_cast<std::int64_t>(send.log_offset)}.write(id);
    remoting::SendResponse header;
    header.message_id = std::string_view{id, sizeof id};
    std::string ids;
    if (!send.more_log_offsets.empty()) {
        ids.assign(id, sizeof id);
        for (const std::uint64_t offset : send.more_log_offsets) {
            if (ids.size() > batch_ids_bytes_max) break;
            remoting::OffsetMessageId{state.options.advertised, static_cast<std::int64_t>(offset)}.write(id);
            ids.append(1, ',').append(id, sizeof id);
        }
        header.message_id = ids;
    }
    header.queue_id = send.queue_id;
    header.queue_offset = static_cast<std::int64_t>(send.queue_offset);
    std::string handle;
    if (send.recall_handle) {
        send.recall_handle->offset = send.queue_offset;
        handle = send.recall_handle->encode();
        header.recall_handle = handle;
    }
    if (send.transaction_id) header.transaction_id = *send.transaction_id;
    header.durability = send.durable ? remoting::durability::sync : remoting::durability::async;
    remoting::CommandWriter writer{session->output, send.serialize_type, static_cast<std::int32_t>(ResponseCode::success),
                                   send.opaque, remoting::flag_bit::response};
    header.write(writer);
    writer.finish();
    state.produced(send.connection, *session, before);
}

void answer_refused(DispatchState& state, const PendingSend& send, const Refusal& refusal) {
    if (!send.plain) state.messages_refused.add(1 + send.more_log_offsets.size());
    state.count_refusal(refusal.code);
    Session* session = state.find(send.connection);
    if (session == nullptr || !send.answer) return;
    const std::size_t before = session->output.size();
    remoting::CommandWriter writer{session->output, send.serialize_type,          static_cast<std::int32_t>(refusal.code),
                                   send.opaque,     remoting::flag_bit::response, refusal.remark};
    writer.finish();
    state.produced(send.connection, *session, before);
}

void answer_plain(DispatchState& state, const PendingSend& send) {
    Session* session = state.find(send.connection);
    if (session == nullptr || !send.answer) return;
    const std::size_t before = session->output.size();
    remoting::CommandWriter writer{session->output, send.serialize_type, static_cast<std::int32_t>(ResponseCode::success),
                                   send.opaque, remoting::flag_bit::response};
    writer.finish();
    state.produced(send.connection, *session, before);
}

/// The log took a message or a batch: it is answered when the log settles it.
void await(DispatchState& state, PendingSend send) {
    state.unsettled_bytes += send.bytes;
    if (send.answer && !send.durable) {
        answer_stored(state, send);
        send.answer = false;
    }
    state.pending.push_back(std::move(send));
}

/// The message waits in another queue; who asked for a time may recall it.
void note_delayed(const DispatchState& state, const remoting::Record& record, const Delay& delay, PendingSend& send) {
    send.queue = state.timers.wheel();
    if (!delay.any_time || is_retry_topic(record.topic)) return;
    RecallHandle handle = recall_handle_of(state, record, delay.due_ms);
    if (handle.unique_key.find(' ') == std::string::npos)
        send.recall_handle = std::make_unique<RecallHandle>(std::move(handle));
}

Refusal store_half(DispatchState& state, remoting::Record& record, const Traits& traits, PendingSend& send) {
    StoredHalf stored;
    if (Refusal refusal = state.transactions.store(state, record, traits, stored); refusal.refused()) return refusal;
    send.queue = state.transactions.halves();
    send.queue_offset = stored.home.offset;
    send.log_offset = stored.home.log_offset;
    send.transaction_id = std::make_unique<std::string>(stored.unique_key);
    send.bytes = stored.repeated ? 0 : remoting::record_size(record);
    // One that was stored before is answered when that is durable, and after whatever was accepted since.
    send.ticket = stored.ticket;
    if (stored.repeated && state.pending_head < state.pending.size())
        send.ticket = std::max(send.ticket, state.pending.back().ticket);
    if (send.ticket <= state.settled_ticket) {
        if (send.answer) answer_stored(state, send);
        return {};
    }
    await(state, std::move(send));
    return {};
}

Refusal store_one(DispatchState& state, const Request& request, const SendRequest& header, const Topic& topic,
                  remoting::Record& record, PendingSend& send) {
    Traits traits;
    const std::string_view body = request.command.body;
    if (body.size() > remoting::body_bytes_max)
        return {ResponseCode::message_illegal, "the body has " + std::to_string(body.size()) + " bytes; at most " +
                                                   std::to_string(remoting::body_bytes_max) + " are allowed"};
    if (Refusal refusal = read_properties(header.properties, traits); refusal.refused()) return refusal;
    // A message that comes back from a consumer was committed long ago.
    traits.prepared = (traits.prepared || (header.sys_flag & remoting::sys_flag::transaction_mask) != 0) &&
                      !is_retry_topic(header.topic) && !is_dead_letter_topic(header.topic);
    if (std::string fault = type_fault(topic, message_type_of(traits)); !fault.empty())
        return {ResponseCode::message_illegal, std::move(fault)};
    send.durable = send.durable && traits.wait;
    record.body = body;
    record.properties = stamped(state, header.properties, traits, state.stamped);
    if (traits.prepared) return store_half(state, record, traits, send);
    std::optional<Delay> delay;
    if (asks_for_delay(traits) && !is_dead_letter_topic(topic.name)) {
        if (Refusal refusal = read_delay(state.options, traits, wall_ms(state), delay); refusal.refused()) return refusal;
    }
    const auto appended = delay ? store_delayed(state, record, traits, *delay) : store(state, send.queue, record, traits);
    if (!appended) return refusal_of(appended.error());
    if (delay) note_delayed(state, record, *delay, send);
    send.ticket = appended->ticket;
    send.queue_offset = appended->queue_offset;
    send.log_offset = appended->log_offset;
    send.bytes = remoting::record_size(record);
    await(state, std::move(send));
    return {};
}

Refusal store_batch(DispatchState& state, const Request& request, const Topic& topic, remoting::Record& record,
                    PendingSend& send) {
    const std::string_view body = request.command.body;
    if (body.size() > remoting::body_bytes_max)
        return {ResponseCode::message_illegal, "the batch has " + std::to_string(body.size()) + " bytes; at most " +
                                                   std::to_string(remoting::body_bytes_max) + " are allowed"};
    // Everything is looked at before anything is stored.
    std::vector<std::pair<remoting::BatchEntry, Traits>> entries;
    bool waits = false;
    remoting::BatchView batch{body};
    for (;;) {
        auto entry = batch.next();
        if (!entry) return {ResponseCode::message_illegal, entry.error().text()};
        if (!*entry) break;
        Traits traits;
        if (Refusal refusal = read_properties((*entry)->properties, traits); refusal.refused()) return refusal;
        if (traits.prepared)
            return {
                ResponseCode::message_illegal,
                "a transaction (half) message cannot come in a batch; send it by itself, with the HUFU_TX_ID of the others "
                "if they are one transaction"};
        if (asks_for_delay(traits))
            return {ResponseCode::message_illegal, "a message of a batch cannot be delayed; send it by itself"};
        if (std::string fault = type_fault(topic, message_type_of(traits)); !fault.empty())
            return {ResponseCode::message_illegal, std::move(fault)};
        waits = waits || traits.wait;
        entries.emplace_back(**entry, traits);
    }
    if (entries.empty()) return {ResponseCode::message_illegal, "the batch is empty"};
    send.durable = send.durable && waits;
    // All of it shares one group of the log: after a crash the batch is there whole, or not at all.
    std::uint64_t bytes = 0;
    for (const auto& [entry, traits] : entries) {
        record.body = entry.body;
        record.properties = stamped(state, entry.properties, traits, state.stamped);
        bytes += remoting::record_size(record) + minted_key_bytes;
    }
    if (auto reserved = state.log.reserve(bytes, entries.size()); !reserved) return refusal_of(reserved.error());
    bool first = true;
    for (const auto& [entry, traits] : entries) {
        record.flag = entry.flag;
        record.body = entry.body;
        record.properties = stamped(state, entry.properties, traits, state.stamped);
        const auto appended = store(state, send.queue, record, traits);
        if (!appended) {
            HUFU_ASSERT(first);  // room was reserved and properties were read: nothing is left to fail in the middle
            return refusal_of(appended.error());
        }
        send.ticket = appended->ticket;
        send.bytes += remoting::record_size(record);
        if (first) {
            send.queue_offset = appended->queue_offset;
            send.log_offset = appended->log_offset;
        } else {
            send.more_log_offsets.push_back(appended->log_offset);
        }
        first = false;
    }
    await(state, std::move(send));
    return {};
}

Refusal accept(DispatchState& state, const Request& request) {
    const auto decoded = SendRequest::decode(request.command);
    if (!decoded) return {ResponseCode::invalid_parameter, decoded.error().text()};
    const SendRequest& header = *decoded;
    const std::int32_t transaction_bits = header.sys_flag & remoting::sys_flag::transaction_mask;
    if (transaction_bits != 0 && (transaction_bits != remoting::sys_flag::transaction_prepared || header.batch))
        return {
            ResponseCode::message_illegal,
            "sysFlag " + std::to_string(header.sys_flag) +
                " says that the message is committed, rolled back, or a batch of halves: a half is sent by itself with 4 "
                "(prepared), and decided by END_TRANSACTION (37)"};
    if (header.batch && is_retry_topic(header.topic))
        return {ResponseCode::message_illegal, "a batch cannot go to the retry topic \"" + std::string{header.topic} + "\""};

    Refusal refusal;
    std::string dead_letters;
    std::string_view name = header.topic;
    std::int32_t queue_id = header.queue_id;
    if (belongs_to_dead_letters(state, header, request.now, refusal)) {
        dead_letters = dead_letter_topic_of(header.topic.substr(retry_prefix.size()));
        name = dead_letters;
        queue_id = 0;
    }
    if (refusal.refused()) return refusal;
    Topic* topic = topic_for(state, name, header.default_topic_queues, refusal);
    if (topic == nullptr) return refusal;
    if (!state.options.writable)
        return {ResponseCode::no_permission, "the broker takes no messages at present (brokerPermission); send to another"};
    if ((topic->perm & remoting::permission::write) == 0)
        return {ResponseCode::no_permission, "topic \"" + topic->name + "\": sending message is forbidden"};
    if (queue_id >= static_cast<std::int32_t>(topic->queues.size()))
        return {ResponseCode::invalid_parameter, "topic \"" + topic->name + "\" has queues 0 to " +
                                                     std::to_string(topic->queues.size() - 1) + ", not " +
                                                     std::to_string(queue_id)};
    if (queue_id < 0)
        queue_id = static_cast<std::int32_t>(topic->next_queue++ % static_cast<std::uint32_t>(topic->write_queues));

    const Session* session = state.find(request.connection);
    remoting::Record record = record_of(state, header, session == nullptr ? remoting::Host{} : session->peer);
    record.topic = topic->name;
    record.queue_id = queue_id;
    PendingSend send;
    send.connection = request.connection;
    send.opaque = request.command.opaque;
    send.serialize_type = request.command.serialize_type;
    send.answer = !request.command.is_one_way();
    send.durable = topic->waits_for_disk.value_or(!state.options.answer_before_durable);
    send.queue = topic->queues[static_cast<std::size_t>(queue_id)];
    send.queue_id = queue_id;
    return header.batch ? store_batch(state, request, *topic, record, send)
                        : store_one(state, request, header, *topic, record, send);
}

}  // namespace

static void handle_send(DispatchState& state, const Request& request) {
    if (const Refusal refusal = accept(state, request); refusal.refused()) {
        state.messages_refused.add();
        state.refuse(request, refusal.code, refusal.remark);
    }
}

void DispatchState::succeed_when_durable(const Request& request) {
    // Nothing may be answered before what was accepted earlier: an equal change may still be on its way.
    if (changed_at <= settled_ticket) return succeed(request);
    PendingSend change;
    change.ticket = pending_head < pending.size() ? std::max(changed_at, pending.back().ticket) : changed_at;
    change.connection = request.connection;
    change.opaque = request.command.opaque;
    change.serialize_type = request.command.serialize_type;
    change.answer = !request.command.is_one_way();
    change.plain = true;
    pending.push_back(std::move(change));
}

void settle_sends(DispatchState& state, const Outcome& outcome, SteadyTime now) {
    state.stats.note_day(state.clock.system_now());
    state.settled_ticket = std::max(state.settled_ticket, outcome.through);
    Refusal refusal;
    if (!outcome.durable && outcome.through > 0) refusal = refusal_of(outcome.error);
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    while (state.pending_head < state.pending.size() && state.pending[state.pending_head].ticket <= outcome.through) {
        PendingSend& send = state.pending[state.pending_head++];
        state.unsettled_bytes -= send.bytes;
        if (!outcome.durable) {
            answer_refused(state, send, refusal);
            continue;
        }
        if (send.plain) {
            answer_plain(state, send);
            continue;
        }
        const std::uint64_t count = 1 + send.more_log_offsets.size();
        messages += count;
        bytes += send.bytes;
        state.stats.put(send.queue, now, {count, send.bytes, 1});
        if (send.answer) answer_stored(state, send);
        QueueWaits& queue = state.queue(send.queue);
        queue.bytes_in += send.bytes;
        if (!queue.grew) {
            queue.grew = true;
            state.grown.push_back(send.queue);
        }
    }
    if (messages > 0) {
        state.messages_stored.add(messages);
        state.bytes_stored.add(bytes);
    }
    if (state.pending_head == state.pending.size()) {
        state.pending.clear();
        state.pending_head = 0;
    } else if (state.pending_head > 4096 && state.pending_head * 2 > state.pending.size()) {
        state.pending.erase(state.pending.begin(), state.pending.begin() + static_cast<std::ptrdiff_t>(state.pending_head));
        state.pending_head = 0;
    }
}

void add_send_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::send_message, handle_send);
    table.add(RequestCode::send_message_v2, handle_send);
    table.add(RequestCode::send_batch_message, handle_send);
}

}  // namespace hufu::broker
