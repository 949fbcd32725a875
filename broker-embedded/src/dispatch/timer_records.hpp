// What the timers' own files share: their records in the log.
#pragma once

#include <hufu/remoting/checksum.hpp>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {

inline constexpr std::uint64_t progress_bytes = 2048;  ///< of a progress record, at most

/// Room for a copy of the record with what delivery adds to its properties.
inline std::uint64_t room_for(const remoting::Record& record) {
    constexpr std::uint64_t dequeue_bytes = 64;
    return remoting::record_size(record) + dequeue_bytes;
}

inline std::int64_t wall_ms(const DispatchState& state) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(state.clock.system_now().time_since_epoch()).count();
}

/// A record of the timers' own, without hosts or times that would mean anything.
inline remoting::Record own_record(std::string_view topic, std::string_view body) {
    remoting::Record record;
    record.topic = topic;
    record.body = body;
    record.body_crc = remoting::body_checksum(body);
    return record;
}

inline Result<Appended> append_own(DispatchState& state, QueueHandle queue, std::int64_t tags_code,
                                   const remoting::Record& record) {
    const std::size_t size = remoting::record_size(record);
    if (state.record.size() < size) state.record.resize(size);
    remoting::encode_record(state.record, record);
    return state.log.append(queue, tags_code, std::span<const std::byte>{state.record}.first(size));
}

}  // namespace hufu::broker
