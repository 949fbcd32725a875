#include "message_source.hpp"

#include "state.hpp"

namespace hufu::broker {

bool read_message(DispatchState& state, std::int64_t log_offset, remoting::Record& record, Refusal& refusal) {
    const auto not_found = [&](const std::string& why) {
        refusal = {ResponseCode::system_error,
                   "look message by offset failed, " + std::to_string(log_offset) + (why.empty() ? "" : ": " + why)};
        return false;
    };
    if (log_offset < 0) return not_found({});
    state.read_bytes.clear();
    const auto queue = state.log.read_at(static_cast<std::uint64_t>(log_offset), state.read_bytes);
    if (!queue) return not_found(queue.error().text());
    const Log::QueueName name = state.log.queue_name(*queue);
    if (state.find_topic(name.topic) == nullptr) return not_found("it is in no topic of this broker");
    const auto decoded = remoting::decode_record(state.read_bytes);
    if (!decoded) return not_found(decoded.error().text());
    record = *decoded;
    return true;
}

}  // namespace hufu::broker
