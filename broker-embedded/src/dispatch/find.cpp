// Finding messages: by offset id (33), by key or unique key (12), and what a queue's index says (321).
#include <algorithm>
#include <set>

#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/object_map.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t found_max = 64;            // maxMsgsNumBatch
constexpr std::size_t found_by_unique_key = 32;  // defaultQueryMaxNum: what the original looks for, whatever was asked
constexpr std::size_t spare_hits = 64;  ///< for hashes that two keys share, and for delayed ones that were delivered
constexpr std::size_t answer_bytes_max = 4U << 20U;
constexpr std::int64_t queue_entries_max = 1000;

/// A record that the key index led to.
struct Found {
    std::uint64_t log_offset = 0;
    std::vector<std::byte> bytes;
    std::string unique_key;
    bool waiting = false;  ///< delayed, and not due
};

bool has_token(std::string_view keys, std::string_view wanted) {
    while (!keys.empty()) {
        const auto end = std::min(keys.find(' '), keys.size());
        if (keys.substr(0, end) == wanted) return true;
        keys.remove_prefix(std::min(end + 1, keys.size()));
    }
    return false;
}

/// Whether clients may see the record: it is in the queue it names and its topic was not deleted since, or it is a delayed
/// one, or a half message. Other hidden queues are the broker's own.
bool is_visible(DispatchState& state, QueueHandle queue, const remoting::Record& record) {
    if (queue == state.timers.wheel() || state.transactions.holds_halves(queue)) return true;
    return state.log.queue_name(queue).topic == record.topic &&
           static_cast<std::uint64_t>(record.queue_offset) >= state.log.min_offset(queue);
}

/// Delivered ones are found where they were delivered to, recalled ones not at all.
bool still_waits(DispatchState& state, const remoting::Record& record) {
    const auto offset = static_cast<std::uint64_t>(record.queue_offset);
    return state.timers.waits_at(offset) && !state.timers.book().is_recalled(offset);
}

/// The record at `log_offset` if it is what was asked for.
std::optional<Found> look_at(DispatchState& state, const remoting::QueryMessageRequest& query, std::uint64_t log_offset) {
    Found found;
    found.log_offset = log_offset;
    const auto queue = state.log.read_at(log_offset, found.bytes);
    if (!queue) return std::nullopt;
    const auto record = remoting::decode_record(found.bytes);
    if (!record || record->topic != query.topic || record->store_timestamp < query.begin_timestamp ||
        record->store_timestamp > query.end_timestamp || !is_visible(state, *queue, *record))
        return std::nullopt;
    found.waiting = *queue == state.timers.wheel();
    if (found.waiting && !still_waits(state, *record)) return std::nullopt;
    const remoting::PropertiesView properties{record->properties};
    found.unique_key = properties.get(remoting::property::unique_key).value_or("");
    const bool by_key = !query.unique_key && has_token(properties.get(remoting::property::keys).value_or(""), query.key);
    if (!by_key && found.unique_key != query.key) return std::nullopt;
    if (state.transactions.holds_halves(*queue) && !state.transactions.show_half(state, found.bytes)) return std::nullopt;
    return found;
}

/// A delayed message that was copied forward, away from a segment that is given up, waits twice; the newest counts.
void drop_copies(std::vector<Found>& found) {
    std::set<std::string, std::less<>> waiting;
    std::erase_if(found, [&](const Found& one) { return one.waiting && !waiting.insert(one.unique_key).second; });
}

std::string time_range(const remoting::QueryMessageRequest& query) {
    return std::to_string(query.begin_timestamp) + " to " + std::to_string(query.end_timestamp);
}

}  // namespace

static void handle_view(DispatchState& state, const Request& request) {
    const auto header = remoting::ViewMessageRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const auto nothing = [&] {
        state.refuse(request, ResponseCode::system_error,
                     "can not find message by the offset, " + std::to_string(header->offset));
    };
    if (header->offset < 0) return nothing();
    state.read_bytes.clear();
    const auto queue = state.log.read_at(static_cast<std::uint64_t>(header->offset), state.read_bytes);
    if (!queue && queue.error().code() == ErrorCode::not_found) return nothing();
    if (!queue) return state.refuse(request, ResponseCode::system_error, queue.error().text());
    const auto record = remoting::decode_record(state.read_bytes);
    if (!record || !is_visible(state, *queue, *record)) return nothing();
    if (!admit_topic(state, request, Right::subscribe, record->topic)) return;
    if (state.transactions.holds_halves(*queue)) static_cast<void>(state.transactions.show_half(state, state.read_bytes));
    state.succeed(request, {reinterpret_cast<const char*>(state.read_bytes.data()), state.read_bytes.size()});
}

static void handle_query(DispatchState& state, const Request& request) {
    const auto header = remoting::QueryMessageRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const remoting::QueryMessageRequest& query = *header;
    if (query.key.empty()) return state.refuse(request, ResponseCode::invalid_parameter, "the key is empty");
    if (query.messages_max <= 0 && !query.unique_key)
        return state.refuse(
            request, ResponseCode::invalid_parameter,
            "maxNum is " + std::to_string(query.messages_max) + "; ask for 1 to " + std::to_string(found_max));
    if (query.begin_timestamp > query.end_timestamp)
        return state.refuse(request, ResponseCode::query_not_found,
                            "the time range " + time_range(query) + " ends before it begins");
    const Session* session = state.find(request.connection);
    if (session != nullptr &&
        (state.unsent > state.options.output_max || session->unsent > state.options.connection_output_max))
        return state.refuse(request, ResponseCode::system_busy,
                            "[OVERLOAD] too many unread answers; read them, then ask again");

    const std::size_t wanted =
        query.unique_key ? found_by_unique_key : std::min(static_cast<std::size_t>(query.messages_max), found_max);
    KeyQuery keys;
    keys.key = message_key(query.topic, query.key);
    keys.from_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(query.begin_timestamp, 0));
    keys.to_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(query.end_timestamp, 0));
    keys.hits_max = wanted + spare_hits;
    const KeyHits hits = state.log.find_key(keys);
    std::vector<Found> found;
    std::size_t bytes = 0;
    for (const std::uint64_t log_offset : hits.log_offsets) {
        if (found.size() >= 2 * wanted || bytes >= answer_bytes_max) break;
        if (auto one = look_at(state, query, log_offset)) {
            bytes += one->bytes.size();
            found.push_back(std::move(*one));
        }
    }
    drop_copies(found);
    if (found.size() > wanted) found.resize(wanted);
    if (found.empty()) {
        const std::string rebuilt = hits.segments_missing == 0
                                        ? std::string{}
                                        : "; the key index of " + std::to_string(hits.segments_missing) +
                                              " segment(s) is being rebuilt, ask again in a moment";
        return state.refuse(request, ResponseCode::query_not_found,
                            "can not find message, maybe time range not correct: no message with this key was stored from " +
                                time_range(query) + rebuilt);
    }
    std::string body;
    // The newest were looked for; they are answered in the order of the log.
    std::for_each(found.rbegin(), found.rend(),
                  [&](const Found& one) { body.append(reinterpret_cast<const char*>(one.bytes.data()), one.bytes.size()); });
    remoting::QueryMessageResponse response;
    response.index_offset = static_cast<std::int64_t>(state.log.durable_offset());
    response.index_timestamp =
        std::chrono::duration_cast<std::chrono::milliseconds>(state.clock.system_now().time_since_epoch()).count();
    state.answer(request, ResponseCode::success, response, body);
}

static void handle_queue_index(DispatchState& state, const Request& request) {
    const auto header = remoting::QueryConsumeQueueRequest::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const Topic* topic = state.require_queue(request, header->topic, header->queue_id);
    if (topic == nullptr) return;
    const QueueHandle queue = topic->queues[static_cast<std::size_t>(header->queue_id)];
    const std::uint64_t min = state.log.min_offset(queue);
    const std::uint64_t max = state.log.max_offset(queue);
    std::string body = "{";
    if (!header->consumer_group.empty()) {
        const std::string who = std::string{header->consumer_group} + "@" + std::string{header->topic};
        const GroupTable::Group* group = state.groups.find(header->consumer_group);
        const bool subscribed = group != nullptr && group->subscriptions.find(header->topic) != group->subscriptions.end();
        body += "\"filterData\":";
        remoting::append_json_text(body, who + (subscribed ? " is subscribed" : " is not online!"));
        body += ',';
    }
    body += "\"maxQueueIndex\":" + std::to_string(max) + ",\"minQueueIndex\":" + std::to_string(min);
    std::int64_t left = std::min<std::int64_t>(header->count, queue_entries_max);
    if (header->index < 0 || static_cast<std::uint64_t>(header->index) < min ||
        static_cast<std::uint64_t>(header->index) >= max) {
        return state.answer(request, ResponseCode::success, remoting::NoFields{}, body + "}",
                            "index " + std::to_string(header->index) + " of queue " + std::to_string(header->queue_id) +
                                " of topic \"" + topic->name + "\" does not exist; it has " + std::to_string(min) + " to " +
                                std::to_string(max) + " (exclusive)");
    }
    body += ",\"queueData\":[";
    bool first = true;
    const auto add = [&](const QueueEntry& entry) {
        if (left-- <= 0) return false;
        body += first ? "" : ",";
        body += "{\"eval\":false,\"physicOffset\":" + std::to_string(entry.log_offset) +
                ",\"physicSize\":" + std::to_string(entry.size) + ",\"tagsCode\":" + std::to_string(entry.tags_code) + "}";
        first = false;
        return true;
    };
    state.log.for_each_entry(queue, static_cast<std::uint64_t>(header->index), add);
    state.succeed(request, body + "]}");
}

void add_find_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::view_message_by_id, handle_view);
    table.add(RequestCode::query_message, handle_query);
    table.add(RequestCode::query_consume_queue, handle_queue_index);
}

}  // namespace hufu::broker
