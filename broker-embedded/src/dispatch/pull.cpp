// Handing out messages: 11, with waiting pulls.
#include <algorithm>

#include "names.hpp"
#include "pull_waits.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint32_t pull_records_max = 1024;
constexpr std::uint64_t pull_bytes_default = 256U << 10U;
constexpr std::uint64_t pull_bytes_max = 1U << 20U;
constexpr std::uint32_t pull_scan = 4096;               // index entries looked at, where no filter says less
constexpr std::uint64_t pull_examined_max = 4U << 20U;  // bytes of records a filter looks into
constexpr std::chrono::milliseconds wait_max{25'000};   // clients give a waiting pull 30 s

ResponseCode code_of(ReadStatus status) noexcept {
    switch (status) {
        case ReadStatus::found: return ResponseCode::success;
        case ReadStatus::no_match: return ResponseCode::pull_retry_immediately;
        case ReadStatus::at_end: return ResponseCode::pull_not_found;
        case ReadStatus::beyond:
        case ReadStatus::below: return ResponseCode::pull_offset_moved;
    }
    return ResponseCode::system_error;
}

std::string_view remark_of(ReadStatus status) noexcept {
    switch (status) {
        case ReadStatus::found: return "FOUND";
        case ReadStatus::no_match: return "NO_MATCHED_MESSAGE";
        case ReadStatus::at_end: return "OFFSET_OVERFLOW_ONE";
        case ReadStatus::beyond: return "OFFSET_OVERFLOW_BADLY";
        case ReadStatus::below: return "OFFSET_TOO_SMALL";
    }
    return {};
}

ReadResult read(DispatchState& state, QueueHandle queue, const ParkedPull& pull) {
    state.read_bytes.clear();
    ReadFilter filter;
    if (pull.filter) filter.by_code = [&wanted = *pull.filter](std::int64_t code) { return wanted.wants_code(code); };
    if (pull.filter && pull.filter->sql)
        filter.by_record = [&wanted = *pull.filter](std::span<const std::byte> record) {
            return wanted.wants_record(record);
        };
    const ReadResult result = state.log.read(queue, pull.offset, pull.limits, filter, state.read_bytes);
    if (result.damaged > 0) {
        const Log::QueueName name = state.log.queue_name(queue);
        state.alarm("topic \"" + std::string{name.topic} + "\" queue " + std::to_string(name.queue_id) + ": " +
                    std::to_string(result.damaged) + " damaged record(s) before offset " +
                    std::to_string(result.next_offset) + " were passed over; restore them from the sender");
    }
    return result;
}

/// Answers with what `read` found; the records are in `state.read_bytes`.
void answer_pull(DispatchState& state, const ParkedPull& pull, const ReadResult& result, SteadyTime now) {
    Session* session = state.find(pull.connection);
    if (session == nullptr) return;
    const std::size_t before = session->output.size();
    remoting::PullResponse header;
    header.next_begin_offset = static_cast<std::int64_t>(result.next_offset);
    header.min_offset = static_cast<std::int64_t>(result.min_offset);
    header.max_offset = static_cast<std::int64_t>(result.max_offset);
    remoting::CommandWriter writer{
        session->output, pull.serialize_type,          static_cast<std::int32_t>(code_of(result.status)),
        pull.opaque,     remoting::flag_bit::response, remark_of(result.status)};
    header.write(writer);
    if (result.status == ReadStatus::found) {
        writer.finish({reinterpret_cast<const char*>(state.read_bytes.data()), state.read_bytes.size()});
        state.messages_pulled.add(result.records);
        state.bytes_pulled.add(state.read_bytes.size());
        pull.traffic->messages += result.records;
        pull.traffic->bytes += state.read_bytes.size();
        state.stats.got(pull.meter.get(), now, {result.records, state.read_bytes.size(), 1});
    } else {
        writer.finish();
    }
    state.produced(pull.connection, *session, before);
}

/// Answers that the group was moved (OFFSET_RESET).
void answer_moved(DispatchState& state, QueueHandle queue, const ParkedPull& pull, std::uint64_t offset) {
    Session* session = state.find(pull.connection);
    if (session == nullptr) return;
    const std::size_t before = session->output.size();
    remoting::PullResponse header;
    header.next_begin_offset = static_cast<std::int64_t>(offset);
    header.min_offset = static_cast<std::int64_t>(state.log.min_offset(queue));
    header.max_offset = static_cast<std::int64_t>(state.log.max_offset(queue));
    remoting::CommandWriter writer{
        session->output, pull.serialize_type,          static_cast<std::int32_t>(ResponseCode::pull_offset_moved),
        pull.opaque,     remoting::flag_bit::response, "OFFSET_RESET"};
    header.write(writer);
    writer.finish();
    state.produced(pull.connection, *session, before);
}

/// Whether there is room for another answer with records.
bool overloaded(DispatchState& state, const Session& session) {
    return state.unsent > state.options.output_max || session.unsent > state.options.connection_output_max;
}

void park(DispatchState& state, QueueHandle handle, ParkedPull pull) {
    state.next_deadline = std::min(state.next_deadline, pull.deadline);
    if (Session* session = state.find(pull.connection); session != nullptr) ++session->parked;
    state.queue(handle).parked.push_back(std::move(pull));
    state.parked_queues.insert(handle);
    ++state.parked;
    state.parked_gauge.set(static_cast<std::int64_t>(state.parked));
}

/// Takes the queue's waiting pulls out; whoever still waits is parked again.
std::vector<ParkedPull> take_parked(DispatchState& state, QueueHandle handle) {
    std::vector<ParkedPull> taken = std::exchange(state.queue(handle).parked, {});
    for (const ParkedPull& pull : taken)
        if (Session* session = state.find(pull.connection); session != nullptr) --session->parked;
    state.parked_queues.erase(handle);
    state.parked -= taken.size();
    state.parked_gauge.set(static_cast<std::int64_t>(state.parked));
    return taken;
}

/// The group's wish for this topic, from the request or from its heartbeat. False when it was refused.
bool read_subscription(DispatchState& state, const Request& request, const remoting::PullRequest& header,
                       const remoting::GroupConfig& config, FilterRef& filter) {
    if ((header.sys_flag & remoting::pull_flag::subscription) != 0) {
        CompiledFilter compiled = state.filters.get(header.expression_type, header.subscription);
        filter = std::move(compiled.filter);
        if (compiled.fault.empty()) return true;
        state.refuse(request, compiled.code, compiled.fault);
        return false;
    }
    const GroupTable::Group* group = state.groups.find(header.consumer_group);
    const std::string name{header.consumer_group.substr(0, group_length_max)};
    if (group == nullptr) {
        state.refuse(
            request, ResponseCode::subscription_not_exist,
            "group \"" + name + "\" has sent no heartbeat on this broker; send one, or put the subscription into the pull");
        return false;
    }
    if (group->broadcasting() && !config.consume_broadcast_enabled) {
        state.refuse(request, ResponseCode::no_permission,
                     "group \"" + name + "\": broadcasting is switched off (consumeBroadcastEnable)");
        return false;
    }
    const auto subscription = group->subscriptions.find(header.topic);
    if (subscription == group->subscriptions.end()) {
        state.refuse(request, ResponseCode::subscription_not_exist,
                     "group \"" + name + "\" is not subscribed to topic \"" + std::string{header.topic} + "\"");
        return false;
    }
    if (subscription->second.version < header.sub_version) {
        state.refuse(request, ResponseCode::subscription_not_latest,
                     "the subscription of group \"" + name + "\" is newer than its last heartbeat");
        return false;
    }
    if (const CompiledFilter& compiled = subscription->second.filter; !compiled.fault.empty()) {
        ResponseCode code = compiled.code;
        if (code == ResponseCode::subscription_parse_failed)
            code = subscription->second.replaces_filter ? ResponseCode::filter_data_not_latest
                                                        : ResponseCode::filter_data_not_exist;
        state.refuse(request, code,
                     "the filter of group \"" + name + "\" for topic \"" + std::string{header.topic} +
                         "\" cannot be used: " + compiled.fault);
        return false;
    }
    filter = subscription->second.filter.filter;
    return true;
}

}  // namespace

static void handle_pull(DispatchState& state, const Request& request) {
    const auto header = remoting::PullRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    if (request.command.is_one_way()) return;
    Refusal refusal;
    const remoting::GroupConfig* config = group_to_read_with(state, header->consumer_group, refusal);
    if (config == nullptr) return state.refuse(request, refusal.code, refusal.remark);
    if (!config->consume_enabled)
        return state.refuse(request, ResponseCode::no_permission,
                            "group \"" + config->name + "\": consuming is switched off (consumeEnable)");
    const Topic* topic = state.find_topic(header->topic);
    if (topic != nullptr && (topic->perm & remoting::permission::read) == 0)
        return state.refuse(request, ResponseCode::no_permission,
                            "topic \"" + topic->name + "\": pulling messages is forbidden");
    topic = state.require_queue(request, header->topic, header->queue_id);
    if (topic == nullptr) return;
    if (header->queue_id >= topic->read_queues)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "topic \"" + topic->name + "\" is read from queues 0 to " +
                                std::to_string(topic->read_queues - 1) + ", not " + std::to_string(header->queue_id));
    const QueueHandle handle = topic->queues[static_cast<std::size_t>(header->queue_id)];

    ParkedPull pull;
    if (!read_subscription(state, request, *header, *config, pull.filter)) return;
    if ((header->sys_flag & remoting::pull_flag::commit_offset) != 0)
        commit_position(state, header->consumer_group, handle, header->commit_offset, request.now);
    Session* session = state.find(request.connection);
    if (session == nullptr) return;
    if (overloaded(state, *session))
        return state.refuse(request, ResponseCode::system_busy,
                            "[OVERLOAD] too many unread answers; read them, then pull again");
    pull.connection = request.connection;
    pull.meter = state.stats.reading(header->consumer_group, topic->name);
    pull.opaque = request.command.opaque;
    pull.serialize_type = request.command.serialize_type;
    pull.offset = header->queue_offset < 0 ? 0 : static_cast<std::uint64_t>(header->queue_offset);
    pull.traffic = &state.traffic.of(header->consumer_group, topic->name, state.options.metric_series_max);
    if (const auto moved = take_reset(state, header->consumer_group, handle, pull.offset, request.now); moved)
        return answer_moved(state, handle, pull, *moved);
    pull.limits.records_max = static_cast<std::uint32_t>(
        std::clamp<std::int32_t>(header->messages_max, 1, static_cast<std::int32_t>(pull_records_max)));
    pull.limits.bytes_max = header->bytes_max.value_or(0) > 0
                                ? std::min<std::uint64_t>(static_cast<std::uint64_t>(*header->bytes_max), pull_bytes_max)
                                : pull_bytes_default;
    pull.limits.scan_max = pull.filter ? pull.filter->scan_max() : pull_scan;
    pull.limits.examined_bytes_max = pull_examined_max;

    const ReadResult result = read(state, handle, pull);
    const bool may_wait = (header->sys_flag & remoting::pull_flag::suspend) != 0 && header->suspend_timeout_ms > 0 &&
                          state.parked < state.options.parked_pulls_max &&
                          session->parked < state.options.parked_pulls_max / 4;
    if (result.status == ReadStatus::at_end && may_wait) {
        const auto wait = std::min<std::chrono::milliseconds>(
            std::chrono::milliseconds{std::min<std::int64_t>(header->suspend_timeout_ms, wait_max.count())}, wait_max);
        pull.deadline = request.now + wait;
        pull.group = header->consumer_group;
        park(state, handle, std::move(pull));
        return;
    }
    answer_pull(state, pull, result, request.now);
}

void serve_grown_queues(DispatchState& state, SteadyTime now) {
    for (const QueueHandle handle : std::exchange(state.grown, {})) {
        state.queue(handle).grew = false;
        if (state.queue(handle).parked.empty()) continue;
        for (ParkedPull& pull : take_parked(state, handle)) {
            Session* session = state.find(pull.connection);
            if (session == nullptr) continue;
            if (overloaded(state, *session)) {
                // Nothing found, for the moment: the client asks again once it has read what is on its way.
                ReadResult later;
                later.next_offset = pull.offset;
                later.min_offset = state.log.min_offset(handle);
                later.max_offset = state.log.max_offset(handle);
                answer_pull(state, pull, later, now);
                continue;
            }
            const ReadResult result = read(state, handle, pull);
            // Records that the group does not want do not wake it, unless more than one look was needed.
            const bool nothing_for_it = (result.status == ReadStatus::no_match || result.status == ReadStatus::at_end) &&
                                        result.next_offset >= result.max_offset;
            if (nothing_for_it && now < pull.deadline) {
                pull.offset = result.next_offset;
                park(state, handle, std::move(pull));
                continue;
            }
            answer_pull(state, pull, result, now);
        }
    }
}

void end_waits(DispatchState& state, SteadyTime now) {
    // Every pass looks at every waiting pull: many deadlines close together share one.
    state.waits_rest_until = now + std::chrono::milliseconds{50};
    state.next_deadline = SteadyTime::max();
    const std::vector<QueueHandle> handles{state.parked_queues.begin(), state.parked_queues.end()};
    for (const QueueHandle handle : handles) {
        for (ParkedPull& pull : take_parked(state, handle)) {
            if (now < pull.deadline) {
                park(state, handle, std::move(pull));
                continue;
            }
            answer_pull(state, pull, read(state, handle, pull), now);
        }
    }
}

void refuse_parked_pulls(DispatchState& state, QueueHandle queue, std::string_view topic) {
    const std::string remark = "topic \"" + std::string{topic} + "\" was deleted";
    for (const ParkedPull& pull : take_parked(state, queue)) {
        Session* session = state.find(pull.connection);
        if (session == nullptr) continue;
        const std::size_t before = session->output.size();
        remoting::CommandWriter writer{
            session->output, pull.serialize_type,          static_cast<std::int32_t>(ResponseCode::topic_not_exist),
            pull.opaque,     remoting::flag_bit::response, remark};
        writer.finish();
        state.produced(pull.connection, *session, before);
    }
}

void answer_parked_resets(DispatchState& state, std::string_view group, QueueHandle queue, SteadyTime now) {
    for (ParkedPull& pull : take_parked(state, queue)) {
        std::optional<std::uint64_t> moved;
        if (pull.group == group) moved = take_reset(state, group, queue, pull.offset, now);
        if (moved) {
            answer_moved(state, queue, pull, *moved);
        } else {
            park(state, queue, std::move(pull));
        }
    }
}

void end_waits_of_group(DispatchState& state, std::string_view group, SteadyTime now) {
    const std::vector<QueueHandle> handles{state.parked_queues.begin(), state.parked_queues.end()};
    for (const QueueHandle handle : handles) {
        for (ParkedPull& pull : take_parked(state, handle)) {
            if (pull.group != group) {
                park(state, handle, std::move(pull));
                continue;
            }
            ReadResult nothing;
            nothing.status = ReadStatus::no_match;
            nothing.next_offset = pull.offset;
            nothing.min_offset = state.log.min_offset(handle);
            nothing.max_offset = state.log.max_offset(handle);
            answer_pull(state, pull, nothing, now);
        }
    }
}

void drop_parked_pulls(DispatchState& state, ConnectionId connection) {
    const std::vector<QueueHandle> handles{state.parked_queues.begin(), state.parked_queues.end()};
    for (const QueueHandle handle : handles) {
        QueueWaits& queue = state.queue(handle);
        state.parked -= std::erase_if(queue.parked, [&](const ParkedPull& pull) { return pull.connection == connection; });
        if (queue.parked.empty()) state.parked_queues.erase(handle);
    }
    state.parked_gauge.set(static_cast<std::int64_t>(state.parked));
}

void add_pull_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::pull_message, handle_pull);
    table.add(RequestCode::lite_pull_message, handle_pull);
}

}  // namespace hufu::broker
