// Where queues begin and end, and where groups stand in them: 14, 15, 29, 30, 31, 32.
#include <algorithm>
#include <charconv>

#include <hufu/core/mutant.hpp>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view key_prefix = "offset/";
constexpr std::string_view reset_mark = " reset";  // behind the offset: nobody has taken it yet
constexpr std::size_t positions_max = 500'000;
/// A queue this short that has lost nothing is young: a new group begins at its first message, so that a consumer that
/// subscribed before the topic existed misses nothing (the original's rule, there in terms of resident memory).
constexpr std::uint64_t young_queue_records = 4096;

std::string key_of(std::string_view group, const Log::QueueName& queue) {
    std::string key{key_prefix};
    key.append(group).append(1, '/').append(queue.topic).append(1, '/').append(std::to_string(queue.queue_id));
    return key;
}

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size() && !text.empty();
}

/// Decodes the header and finds its queue; refuses otherwise.
template <class Header, class Then>
void with_queue(DispatchState& state, const Request& request, Then then) {
    const auto header = Header::decode(request.command);
    if (!header) return state.refuse(request, ResponseCode::invalid_parameter, header.error().text());
    const Topic* topic = state.require_queue(request, header->topic, header->queue_id);
    if (topic != nullptr) then(*header, topic->queues[static_cast<std::size_t>(header->queue_id)]);
}

/// Null when the group never stood there.
Position* find_position(DispatchState& state, std::string_view group, QueueHandle queue) {
    const auto of_group = state.positions.find(group);
    if (of_group == state.positions.end()) return nullptr;
    const auto position = of_group->second.find(queue);
    return position == of_group->second.end() ? nullptr : &position->second;
}

/// Null when there are too many groups.
Position* make_position(DispatchState& state, std::string_view group, QueueHandle queue) {
    auto of_group = state.positions.find(group);
    if (of_group == state.positions.end()) {
        if (state.positions.size() >= positions_max) return nullptr;
        of_group = state.positions.emplace(std::string{group}, std::map<QueueHandle, Position>{}).first;
    }
    return &of_group->second[queue];
}

/// The position goes into the log before long.
void note_change(DispatchState& state, std::string_view group, QueueHandle queue, Position& position, SteadyTime now) {
    if (position.changed) return;
    position.changed = true;
    state.changed_positions.emplace_back(std::string{group}, queue);
    state.positions_due = std::min(state.positions_due, now + state.options.offsets_every);
}

void answer_offset(DispatchState& state, const Request& request, std::uint64_t offset) {
    state.answer(request, ResponseCode::success, remoting::OffsetResponse{static_cast<std::int64_t>(offset)});
}

}  // namespace

static void handle_query_offset(DispatchState& state, const Request& request) {
    with_queue<remoting::QueryOffsetRequest>(state, request, [&](const auto& header, QueueHandle queue) {
        if (Position* position = find_position(state, header.consumer_group, queue); position != nullptr) {
            if (position->reset == Position::Reset::pending) position->reset = Position::Reset::offered;
            return answer_offset(state, request, position->offset);
        }
        const bool young = state.log.min_offset(queue) == 0 && state.log.max_offset(queue) <= young_queue_records;
        if (header.set_zero_if_not_found.value_or(true) && young) return answer_offset(state, request, 0);
        state.answer(request, ResponseCode::query_not_found, remoting::NoFields{}, {},
                     "the group has no position in this queue yet");
    });
}

static void handle_update_offset(DispatchState& state, const Request& request) {
    with_queue<remoting::UpdateOffsetRequest>(state, request, [&](const auto& header, QueueHandle queue) {
        Refusal refusal;
        if (require_group(state, header.consumer_group, refusal) == nullptr)
            return state.refuse(request, refusal.code, refusal.remark);
        if (!commit_position(state, header.consumer_group, queue, header.commit_offset, request.now))
            return state.refuse(request, ResponseCode::invalid_parameter,
                                "offset " + std::to_string(header.commit_offset) +
                                    " is outside of the queue, whose end is " + std::to_string(state.log.max_offset(queue)));
        state.succeed(request);
    });
}

static void handle_max_offset(DispatchState& state, const Request& request) {
    with_queue<remoting::QueueRequest>(
        state, request, [&](const auto&, QueueHandle queue) { answer_offset(state, request, state.log.max_offset(queue)); });
}

static void handle_min_offset(DispatchState& state, const Request& request) {
    with_queue<remoting::QueueRequest>(
        state, request, [&](const auto&, QueueHandle queue) { answer_offset(state, request, state.log.min_offset(queue)); });
}

static void handle_search_offset(DispatchState& state, const Request& request) {
    with_queue<remoting::SearchOffsetRequest>(state, request, [&](const auto& header, QueueHandle queue) {
        const auto boundary = header.upper ? TimeBoundary::upper : TimeBoundary::lower;
        answer_offset(state, request, offset_at_ms(state, queue, header.timestamp, boundary));
    });
}

static void handle_earliest_time(DispatchState& state, const Request& request) {
    with_queue<remoting::QueueRequest>(state, request, [&](const auto&, QueueHandle queue) {
        const auto stored = state.log.stored_at_ms(queue, state.log.min_offset(queue));
        struct Timestamp {
            std::int64_t value;
            void write(remoting::CommandWriter& writer) const { writer.field("timestamp", value); }
        };
        state.answer(request, ResponseCode::success, Timestamp{stored ? static_cast<std::int64_t>(*stored) : -1});
    });
}

std::uint64_t offset_at_ms(DispatchState& state, QueueHandle queue, std::int64_t time_ms, TimeBoundary boundary) {
    // A time before 1970 or after the year 10000 would overflow in microseconds; both mean an end of the queue.
    constexpr std::int64_t latest_ms = 253'402'300'800'000;
    const auto ms = std::chrono::milliseconds{std::min(std::max<std::int64_t>(time_ms, 0), latest_ms)};
    return state.log.offset_at(queue, SystemTime{ms}, boundary);
}

bool commit_position(DispatchState& state, std::string_view group, QueueHandle queue, std::int64_t offset, SteadyTime now) {
    if (offset < 0 || static_cast<std::uint64_t>(offset) > state.log.max_offset(queue)) return false;
    Position* position = find_position(state, group, queue);
    // What a consumer did before it knew that the group was moved is not where the group stands.
    if (position != nullptr && position->reset != Position::Reset::none && !mutant_active("commit_undoes_reset"))
        return true;
    if (position == nullptr) {
        position = make_position(state, group, queue);
        if (position == nullptr) return false;
    } else if (position->offset == static_cast<std::uint64_t>(offset)) {
        return true;
    }
    position->offset = static_cast<std::uint64_t>(offset);
    note_change(state, group, queue, *position, now);
    return true;
}

std::optional<std::uint64_t> position_of(const DispatchState& state, std::string_view group, QueueHandle queue) {
    const auto of_group = state.positions.find(group);
    if (of_group == state.positions.end()) return std::nullopt;
    const auto position = of_group->second.find(queue);
    if (position == of_group->second.end()) return std::nullopt;
    return position->second.offset;
}

void reset_position(DispatchState& state, std::string_view group, QueueHandle queue, std::uint64_t offset, SteadyTime now) {
    Position* position = make_position(state, group, queue);
    if (position == nullptr) return;
    position->offset = offset;
    position->reset = Position::Reset::pending;
    note_change(state, group, queue, *position, now);
}

std::optional<std::uint64_t> take_reset(DispatchState& state, std::string_view group, QueueHandle queue,
                                        std::uint64_t offset, SteadyTime now) {
    Position* position = find_position(state, group, queue);
    if (position == nullptr || position->reset == Position::Reset::none) return std::nullopt;
    // A consumer that has just been told where to begin need not be sent there.
    const bool is_there = position->reset == Position::Reset::offered && position->offset == offset;
    position->reset = Position::Reset::none;
    note_change(state, group, queue, *position, now);
    if (is_there) return std::nullopt;
    return position->offset;
}

Refusal erase_positions(DispatchState& state, std::string_view group) {
    const auto of_group = state.positions.find(group);
    if (of_group == state.positions.end()) return {};
    // One by one: after a failure in the middle the request is made again.
    while (!of_group->second.empty()) {
        const auto position = of_group->second.begin();
        const auto erased = state.log.erase_state(key_of(group, state.log.queue_name(position->first)));
        if (!erased) return refusal_of(erased.error());
        state.changed_at = *erased;
        of_group->second.erase(position);
    }
    std::erase_if(state.changed_positions, [&](const auto& changed) { return changed.first == group; });
    state.positions.erase(of_group);
    return {};
}

bool store_positions(DispatchState& state, SteadyTime now) {
    std::size_t stored = 0;
    for (const auto& [group, queue] : state.changed_positions) {
        Position& position = state.positions.find(group)->second.find(queue)->second;
        std::string text = std::to_string(position.offset);
        if (position.reset != Position::Reset::none && !mutant_active("reset_forgotten_by_a_restart"))
            text.append(reset_mark);
        const auto put = state.log.put_state(key_of(group, state.log.queue_name(queue)), text);
        if (!put) break;  // the disk is behind or full: the positions stay here and are tried again
        state.positions_ticket = *put;
        position.changed = false;
        ++stored;
    }
    state.changed_positions.erase(state.changed_positions.begin(),
                                  state.changed_positions.begin() + static_cast<std::ptrdiff_t>(stored));
    state.positions_due = state.changed_positions.empty() ? SteadyTime::max() : now + state.options.offsets_every;
    return state.changed_positions.empty();
}

void forget_positions(DispatchState& state, const Topic& topic) {
    const auto of_topic = [&](QueueHandle queue) {
        return std::find(topic.queues.begin(), topic.queues.end(), queue) != topic.queues.end();
    };
    std::erase_if(state.changed_positions, [&](const auto& changed) { return of_topic(changed.second); });
    for (auto group = state.positions.begin(); group != state.positions.end();) {
        std::erase_if(group->second, [&](const auto& position) {
            if (!of_topic(position.first)) return false;
            // Refused: the position stays in the log and does no harm, the queue's offsets never begin anew.
            static_cast<void>(state.log.erase_state(key_of(group->first, state.log.queue_name(position.first))));
            return true;
        });
        group = group->second.empty() ? state.positions.erase(group) : std::next(group);
    }
}

void load_positions(DispatchState& state) {
    state.log.for_each_state(key_prefix, [&](std::string_view key, std::string_view value) {
        const std::string_view names = key.substr(key_prefix.size());
        const auto group_end = names.find('/');
        const auto topic_end = names.rfind('/');
        std::int32_t queue_id = 0;
        Position position;
        if (value.ends_with(reset_mark)) {
            position.reset = Position::Reset::pending;
            value.remove_suffix(reset_mark.size());
        }
        if (group_end == std::string_view::npos || topic_end <= group_end || !read_number(value, position.offset) ||
            !read_number(names.substr(topic_end + 1), queue_id)) {
            state.alarm("the stored position \"" + std::string{key} + "\" cannot be read and was passed over");
            return;
        }
        const auto queue = state.log.find_queue(names.substr(group_end + 1, topic_end - group_end - 1), queue_id);
        if (!queue) return;  // a topic that is no more
        const std::uint64_t end = state.log.max_offset(*queue);
        if (position.offset > end) {
            state.alarm("group \"" + std::string{names.substr(0, group_end)} + "\" stood at offset " +
                        std::to_string(position.offset) + " of topic \"" +
                        std::string{names.substr(group_end + 1, topic_end - group_end - 1)} + "\" queue " +
                        std::to_string(queue_id) + ", beyond the recovered end " + std::to_string(end) +
                        "; it now stands at the end. Messages were lost with the disk's unsynced data");
            position.offset = end;
        }
        state.positions[std::string{names.substr(0, group_end)}][*queue] = position;
    });
}

void add_offset_handlers(HandlerTable& table) {
    using remoting::RequestCode;
    table.add(RequestCode::query_consumer_offset, handle_query_offset);
    table.add(RequestCode::update_consumer_offset, handle_update_offset);
    table.add(RequestCode::search_offset_by_timestamp, handle_search_offset);
    table.add(RequestCode::get_max_offset, handle_max_offset);
    table.add(RequestCode::get_min_offset, handle_min_offset);
    table.add(RequestCode::get_earliest_store_time, handle_earliest_time);
}

}  // namespace hufu::broker
