// Keys as small integers.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

/// A message in memory that is not with the publisher.
struct HeldRow {
    Sequence seq = 0;
    SystemTime created_at = {};
    std::uint32_t bytes = 0;
    bool from_lot = false;
    bool sent = false;  ///< it was with the publisher before
    Message message = {};
};

/// What lets a key's rows pass.
enum class Gate : std::uint8_t {
    failing,   ///< a message failed; waiting until the others in flight have their outcome
    blocked,   ///< until `retry_at`
    probing,   ///< the first row alone is in flight
    parked,    ///< closed; its rows are in the lot
    draining,  ///< released: the lot's rows go first, new rows queue up in the lot behind them
};

/// The state of a key whose rows do not simply pass. A key without it is open.
struct Trouble {
    Gate gate = Gate::failing;
    std::deque<HeldRow> waiting = {};  ///< ascending by seq
    std::uint32_t attempts = 0;        ///< failures of the first row that count
    std::uint32_t rounds = 0;          ///< failures since the last success, also those that do not count
    SteadyTime retry_at = {};
    Sequence failed_seq = 0;  ///< lowest row that failed in this round; 0: none
    bool rejected = false;    ///< how `failed_seq` failed
    Error failure = {};
    bool in_lot = false;     ///< rows of the key may be in the lot that are not in memory: new rows follow them there
    Sequence lot_after = 0;  ///< lot rows up to here were read
    std::size_t parks_pending = 0;
    std::size_t holds_pending = 0;
};

struct KeySlot {
    Key key = {};
    std::size_t hash = 0;
    std::uint32_t in_flight = 0;
    std::uint32_t lot_rows = 0;  ///< rows from the lot in memory or with the publisher or not settled
    std::uint64_t listed = 0;    ///< last listing of the lot that had the key
    bool loose = false;          ///< stands for one row without an ordering key
    bool drain_queued = false;
    std::uint64_t batch = 0;           ///< the one its messages in flight are in
    std::vector<HeldRow> behind = {};  ///< ascending by seq; go when that batch came back
    std::unique_ptr<Trouble> trouble = {};
};

inline constexpr std::uint32_t no_key = std::numeric_limits<std::uint32_t>::max();

/// Interns (topic, ordering key). Slots are recycled with their strings' memory, so that short-lived keys cost no
/// allocation. Open addressing, linear probing, backward-shift deletion.
class KeyTable {
public:
    [[nodiscard]] std::uint32_t find(std::string_view topic, std::string_view ordering_key) const noexcept;
    std::uint32_t find_or_add(std::string_view topic, std::string_view ordering_key);
    /// A slot that `find` never returns.
    std::uint32_t add_loose(std::string_view topic);
    void remove(std::uint32_t slot);
    [[nodiscard]] KeySlot& operator[](std::uint32_t slot) noexcept { return slots_[slot]; }
    [[nodiscard]] const KeySlot& operator[](std::uint32_t slot) const noexcept { return slots_[slot]; }
    [[nodiscard]] std::size_t size() const noexcept { return slots_.size() - free_.size(); }

private:
    std::uint32_t take_slot();
    [[nodiscard]] std::size_t bucket_of(std::uint32_t slot) const noexcept {
        return slots_[slot].hash & (buckets_.size() - 1);
    }
    void grow();

    std::deque<KeySlot> slots_;  // references stay valid while it grows
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> buckets_ = std::vector<std::uint32_t>(1024, no_key);  // a power of two
    std::size_t indexed_ = 0;
};

}  // namespace hufu::outbox
