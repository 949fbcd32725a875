// The side of `KeyOrder` that faces the parking lot.
#include "key_order.hpp"

#include <hufu/core/assert.hpp>

#include <algorithm>

namespace hufu::outbox {

void KeyOrder::remove_if_idle(std::uint32_t slot) {
    const KeySlot& key = keys_[slot];
    if (key.in_flight == 0 && key.behind.empty() && !key.trouble && key.lot_rows == 0) keys_.remove(slot);
}

std::vector<ParkRow> KeyOrder::next_park(std::size_t limit) const {
    std::vector<ParkRow> rows;
    const std::size_t count = std::min(limit, parks_.size());
    rows.reserve(count);
    for (std::size_t index = 0; index < count; ++index) {
        const QueuedPark& park = parks_[index];
        const bool released = park.slot != no_key && keys_[park.slot].trouble->gate != Gate::parked;
        rows.push_back({.seq = park.seq,
                        .attempts = park.attempts,
                        .reason = park.reason.empty() ? "waits behind earlier rows of its key" : park.reason,
                        .released = released});
    }
    return rows;
}

std::vector<Sequence> KeyOrder::parked(std::size_t count) {
    HUFU_ASSERT(count <= parks_.size());
    std::vector<Sequence> seqs;
    seqs.reserve(count);
    for (; count > 0; --count) {
        const QueuedPark& park = parks_.front();
        seqs.push_back(park.seq);
        if (park.slot != no_key) --keys_[park.slot].trouble->parks_pending;
        parks_.pop_front();
    }
    return seqs;
}

std::optional<std::pair<Key, ParkRow>> KeyOrder::next_hold() const {
    // After all parking: a crash between the two leaves the key released, never rows of it overtaken.
    if (holds_.empty() || !parks_.empty()) return std::nullopt;
    return std::pair{holds_.front().key, holds_.front().row};
}

void KeyOrder::held() {
    if (const std::uint32_t slot = holds_.front().slot; slot != no_key) --keys_[slot].trouble->holds_pending;
    holds_.pop_front();
}

void KeyOrder::lot_settled(const std::vector<std::pair<Sequence, std::uint32_t>>& rows) {
    for (const auto& [seq, slot] : rows) {
        known_.erase(seq);
        lot_known_.erase(seq);
        if (slot == no_key) continue;
        --keys_[slot].lot_rows;
        remove_if_idle(slot);
    }
}

void KeyOrder::queue_drain(std::uint32_t slot) {
    if (keys_[slot].drain_queued) return;
    keys_[slot].drain_queued = true;
    drains_.push_back(slot);
}

std::optional<ReadReleased> KeyOrder::next_drain() {
    if (!loose_drains_.empty()) return loose_drains_.front();
    if (drains_.empty()) return std::nullopt;
    const KeySlot& key = keys_[drains_.front()];
    HUFU_ASSERT(key.trouble && key.trouble->gate == Gate::draining);
    return ReadReleased{.key = key.key, .after = key.trouble->lot_after, .limit = options_.parked_rows};
}

void KeyOrder::drained(const ReadReleased& request, std::vector<ParkedRow> rows) {
    const bool complete = rows.size() < request.limit;
    const bool loose = request.key.ordering_key.empty();
    std::uint32_t slot = no_key;
    if (loose) {
        if (complete) {
            loose_drains_.pop_front();
        } else {
            loose_drains_.front().after = rows.back().row.seq;
        }
    } else {
        slot = drains_.front();
        drains_.pop_front();
        keys_[slot].drain_queued = false;
        if (!rows.empty()) keys_[slot].trouble->lot_after = rows.back().row.seq;
    }
    for (ParkedRow& parked : rows) {
        if (!lot_known_.insert(parked.row.seq)) continue;  // confirmed or waiting already
        known_.insert(parked.row.seq);
        HeldRow row{.seq = parked.row.seq,
                    .created_at = parked.row.created_at,
                    .from_lot = true,
                    .sent = parked.attempts > 0,
                    .message = std::move(parked.row.message)};
        take_in(row);
        if (loose) {
            send(std::move(row), no_key);
        } else {
            ++keys_[slot].lot_rows;
            wait(*keys_[slot].trouble, std::move(row));
        }
    }
    if (loose) return;

    Trouble& trouble = *keys_[slot].trouble;
    // Rows that are on their way to the lot were not in the page.
    if (complete && trouble.parks_pending == 0) trouble.in_lot = false;
    if (!trouble.waiting.empty()) {
        probe(slot);
    } else {
        open_or_drain(slot);
    }
}

void KeyOrder::take_list(const std::vector<ParkedKey>& keys) {
    ++listing_;
    loose_parked_.clear();
    for (const ParkedKey& listed : keys) {
        if (listed.key.ordering_key.empty()) {
            loose_parked_.insert(listed.key.topic);
            const bool queued = std::any_of(loose_drains_.begin(), loose_drains_.end(),
                                            [&](const ReadReleased& drain) { return drain.key == listed.key; });
            if (listed.rows_released > 0 && !queued) {
                loose_drains_.push_back({.key = listed.key, .after = 0, .limit = options_.parked_rows});
            }
            continue;
        }
        const std::uint32_t slot = keys_.find_or_add(listed.key.topic, listed.key.ordering_key);
        KeySlot& key = keys_[slot];
        key.listed = listing_;
        if (!key.trouble) {
            if (key.lot_rows > 0) continue;  // its last rows from the lot are on their way
            key.trouble = std::make_unique<Trouble>();
            close(slot);
        }
        Trouble& trouble = *key.trouble;
        if (trouble.gate == Gate::parked && listed.rows_released > 0 && trouble.holds_pending == 0) {
            closed_.erase(slot);
            trouble.gate = Gate::draining;
            trouble.attempts = trouble.rounds = 0;
            trouble.lot_after = 0;
            if (key.in_flight == 0) queue_drain(slot);
        }
    }
    for (auto next = closed_.begin(); next != closed_.end();) {
        const std::uint32_t slot = *next++;
        const Trouble& trouble = *keys_[slot].trouble;
        if (keys_[slot].listed == listing_ || trouble.parks_pending > 0 || trouble.holds_pending > 0) continue;
        // A person has discarded its rows.
        closed_.erase(slot);
        keys_[slot].trouble.reset();
        remove_if_idle(slot);
    }
}

}  // namespace hufu::outbox
