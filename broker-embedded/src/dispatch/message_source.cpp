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
    // A committed half is delivered by a link: its consumers know it by where it stands.
    const bool half = state.transactions.holds_halves(*queue);
    if (half && !state.transactions.show_half(state, state.read_bytes)) return not_found("it was delivered as a copy");
    const auto decoded = remoting::decode_record(state.read_bytes);
    if (!decoded) return not_found(decoded.error().text());
    constexpr auto bits = remoting::sys_flag::transaction_mask;
    if (half && (decoded->sys_flag & bits) != remoting::sys_flag::transaction_commit)
        return not_found("it is a half message that was not committed");
    if (state.find_topic(half ? decoded->topic : state.log.queue_name(*queue).topic) == nullptr)
        return not_found("it is in no topic of this broker");
    record = *decoded;
    return true;
}

}  // namespace hufu::broker
