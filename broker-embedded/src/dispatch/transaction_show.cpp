// What is shown of halves and their lives: to those who look for messages, and to administrators.
#include <algorithm>

#include <hufu/broker/log_record.hpp>
#include <hufu/remoting/properties.hpp>

#include "state.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

void set_transaction_bits(std::span<std::byte> record, std::int32_t bits) {
    std::byte* const at = record.data() + remoting::record_offset::sys_flag;
    const std::uint32_t flags = log_record::load_u32(at) & ~static_cast<std::uint32_t>(remoting::sys_flag::transaction_mask);
    log_record::store_u32(at, flags | static_cast<std::uint32_t>(bits));
}

}  // namespace

bool Transactions::show_half(DispatchState& state, std::vector<std::byte>& bytes) {
    const auto record = remoting::decode_record(bytes);
    const auto home = record ? home_of(*record) : std::nullopt;
    if (!home) return false;
    const bool copied = home->log_offset != static_cast<std::uint64_t>(record->physical_offset);
    const auto half = book_.find(home->offset);
    if (half && half->state != HalfState::conflict) {
        // Of one that retention copied, the copy is shown.
        return half->place.moved == copied &&
               (!copied || half->place.offset == static_cast<std::uint64_t>(record->queue_offset));
    }
    const auto events = find_events(state, decisions_, event_key(home->offset));
    if (!events) return true;
    const auto said = std::find_if(events->begin(), events->end(), [&](const HalfEvent& event) {
        return event.home.offset == home->offset && is_verdict(event.kind);
    });
    if (said == events->end()) return true;
    if (said->kind == EventKind::rollback) {
        set_transaction_bits(bytes, remoting::sys_flag::transaction_rollback);
        return true;
    }
    std::vector<std::byte> delivered;
    const auto queue = log_.read_at(said->delivered_at, delivered);
    const auto linked = queue ? remoting::decode_record(delivered) : Result<remoting::Record>{queue.error()};
    if (linked && linked->physical_offset == record->physical_offset) {
        bytes = std::move(delivered);
        return true;
    }
    // A copy was delivered, and is found by itself while it is kept.
    set_transaction_bits(bytes, remoting::sys_flag::transaction_commit);
    return !linked;
}

}  // namespace hufu::broker
