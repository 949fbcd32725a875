#include "key_order.hpp"

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include <algorithm>
#include <utility>

namespace hufu::outbox {
namespace {

std::uint32_t size_of(const Message& message) {
    // 256: the strings' and vectors' own bookkeeping.
    std::size_t bytes = 256 + message.body.size() + message.topic.size() + message.ordering_key.size();
    for (const auto& [name, value] : message.headers) bytes += 64 + name.size() + value.size();
    return static_cast<std::uint32_t>(std::min<std::size_t>(bytes, std::numeric_limits<std::uint32_t>::max()));
}

/// An outage of the broker says nothing about the message.
bool counts_as_attempt(const PublishOutcome& outcome) {
    if (outcome.status == PublishStatus::rejected) return true;
    switch (outcome.error.code()) {
        case ErrorCode::unavailable:
        case ErrorCode::timeout:
        case ErrorCode::busy:
        case ErrorCode::cancelled: return false;
        default: return true;
    }
}

/// When the relay sends it, the row's age is still known; receivers need it (guards' horizon, latency).
void stamp(Message& message, SystemTime created_at) {
    if (created_at == SystemTime{} || message.headers.get(header::committed_at)) return;
    message.headers.set(header::committed_at, std::to_string(created_at.time_since_epoch().count()));
}

}  // namespace

void KeyOrder::admit(Row row, bool overflow) {
    known_.insert(row.seq);
    HeldRow held{.seq = row.seq, .created_at = row.created_at, .message = std::move(row.message)};
    take_in(held);
    if (held.message.ordering_key.empty()) {
        send(std::move(held), no_key);
        return;
    }
    const std::uint32_t slot = keys_.find_or_add(held.message.topic, held.message.ordering_key);
    const auto& trouble = keys_[slot].trouble;
    if (!trouble || (trouble->gate == Gate::parked && mutant_active("successor_overtakes_parked_key"))) {
        send(std::move(held), slot);
    } else if (trouble->gate == Gate::parked) {
        queue_park(slot, held, 0, {});
    } else if (trouble->in_lot || overflow) {
        trouble->in_lot = true;
        queue_park(slot, held, 0, {});
    } else {
        wait(*trouble, std::move(held));
    }
}

void KeyOrder::take_in(HeldRow& row) {
    stamp(row.message, row.created_at);
    row.bytes = size_of(row.message);
    bytes_ += row.bytes;
}

void KeyOrder::send(HeldRow row, std::uint32_t slot) {
    if (ready_.empty() || ready_.back()->messages.size() >= options_.publish_rows) {
        ready_.push_back(std::make_unique<PublishBatch>());
        ready_.back()->messages.reserve(options_.publish_rows);
        ready_.back()->tickets.reserve(options_.publish_rows);
        ++last_batch_;
    }
    if (slot != no_key) {
        KeySlot& key = keys_[slot];
        if (!key.behind.empty() || (key.in_flight != 0 && key.batch != last_batch_)) {
            key.behind.push_back(std::move(row));
            return;
        }
        key.batch = last_batch_;
        ++key.in_flight;
    }
    PublishBatch& batch = *ready_.back();
    batch.tickets.push_back({.seq = row.seq,
                             .key = slot,
                             .bytes = row.bytes,
                             .created_at = row.created_at,
                             .from_lot = row.from_lot,
                             .again = row.sent});
    batch.messages.push_back(std::move(row.message));
}

void KeyOrder::send_behind(std::uint32_t slot) {
    for (HeldRow& row : std::exchange(keys_[slot].behind, {})) send(std::move(row), slot);
}

void KeyOrder::wait(Trouble& trouble, HeldRow row) {
    ++waiting_;
    auto place = trouble.waiting.end();
    while (place != trouble.waiting.begin() && std::prev(place)->seq > row.seq) --place;
    trouble.waiting.insert(place, std::move(row));
}

HeldRow KeyOrder::take_first(Trouble& trouble) {
    HeldRow row = std::move(trouble.waiting.front());
    trouble.waiting.pop_front();
    --waiting_;
    return row;
}

void KeyOrder::take_outcome(const PublishBatch::Ticket& ticket, Message& message, const PublishOutcome& outcome,
                            SteadyTime now) {
    std::uint32_t slot = ticket.key;
    if (outcome.status == PublishStatus::confirmed) {
        bytes_ -= ticket.bytes;
        if (ticket.from_lot) {
            lot_confirmed_.emplace_back(ticket.seq, slot != no_key && keys_[slot].loose ? no_key : slot);
        } else if (!mutant_active("settle_before_confirm")) {
            confirmed_.push_back(ticket.seq);
        }
        if (slot == no_key) return;
        KeySlot& key = keys_[slot];
        if (--key.in_flight == 0) send_behind(slot);
        if (!key.trouble) {
            remove_if_idle(slot);
            return;
        }
        key.trouble->attempts = key.trouble->rounds = 0;
        if (key.in_flight != 0) return;
        switch (key.trouble->gate) {
            case Gate::failing: resolve(slot, now); break;
            case Gate::probing: open_or_drain(slot); break;
            case Gate::draining: queue_drain(slot); break;
            case Gate::blocked:
            case Gate::parked: break;
        }
        return;
    }

    HeldRow row{.seq = ticket.seq,
                .created_at = ticket.created_at,
                .bytes = ticket.bytes,
                .from_lot = ticket.from_lot,
                .sent = true,
                .message = std::move(message)};
    if (slot == no_key) {
        slot = keys_.add_loose(row.message.topic);
    } else {
        --keys_[slot].in_flight;
    }
    KeySlot& key = keys_[slot];
    if (!key.trouble) key.trouble = std::make_unique<Trouble>();
    Trouble& trouble = *key.trouble;
    if (trouble.gate == Gate::parked) {
        queue_park(slot, row, 0, {});
        return;
    }
    trouble.gate = Gate::failing;
    for (HeldRow& later : std::exchange(key.behind, {})) wait(trouble, std::move(later));
    if (trouble.failed_seq == 0 || row.seq < trouble.failed_seq) {
        trouble.failed_seq = row.seq;
        trouble.rejected = outcome.status == PublishStatus::rejected;
        trouble.failure = outcome.error;
    }
    wait(trouble, std::move(row));
    if (key.in_flight == 0) resolve(slot, now);
}

void KeyOrder::resolve(std::uint32_t slot, SteadyTime now) {
    Trouble& trouble = *keys_[slot].trouble;
    HUFU_ASSERT(!trouble.waiting.empty());
    trouble.failed_seq = 0;
    ++trouble.rounds;
    const PublishOutcome judged{.status = trouble.rejected ? PublishStatus::rejected : PublishStatus::not_sent,
                                .error = trouble.failure};
    if (counts_as_attempt(judged)) ++trouble.attempts;
    const std::uint32_t attempts_max = options_.retry.attempts_max();
    if (trouble.rejected || (attempts_max != 0 && trouble.attempts >= attempts_max)) {
        park(slot);
        return;
    }
    const std::uint32_t step = attempts_max == 0 ? trouble.rounds : std::min(trouble.rounds, std::max(attempts_max - 1, 1U));
    const auto pause = options_.retry.wait_after(step, random_);
    trouble.gate = Gate::blocked;
    trouble.retry_at = now + pause.value_or(RetrySchedule::Duration{1'000});
    blocked_.emplace(trouble.retry_at, slot);
}

void KeyOrder::tick(SteadyTime now) {
    while (!blocked_.empty() && blocked_.begin()->first <= now) {
        const std::uint32_t slot = blocked_.begin()->second;
        blocked_.erase(blocked_.begin());
        probe(slot);
    }
}

std::optional<SteadyTime> KeyOrder::next_retry() const {
    if (blocked_.empty()) return std::nullopt;
    return blocked_.begin()->first;
}

void KeyOrder::probe(std::uint32_t slot) {
    Trouble& trouble = *keys_[slot].trouble;
    trouble.gate = Gate::probing;
    send(take_first(trouble), slot);
}

void KeyOrder::open_or_drain(std::uint32_t slot) {
    Trouble& trouble = *keys_[slot].trouble;
    trouble.gate = Gate::draining;
    while (!trouble.waiting.empty()) send(take_first(trouble), slot);
    if (!trouble.in_lot) {
        keys_[slot].trouble.reset();
        remove_if_idle(slot);
    } else if (keys_[slot].in_flight == 0) {
        queue_drain(slot);
    }
}

void KeyOrder::park(std::uint32_t slot) {
    KeySlot& key = keys_[slot];
    Trouble& trouble = *key.trouble;
    const HeldRow first = take_first(trouble);
    const ParkRow row{.seq = first.seq, .attempts = std::max(trouble.attempts, 1U), .reason = trouble.failure.text()};
    const bool hold = trouble.in_lot || first.from_lot;
    const auto leave = [&](const HeldRow& leaving, std::uint32_t attempts, std::string reason) {
        if (leaving.from_lot) {
            // It is in the lot still.
            bytes_ -= leaving.bytes;
            known_.erase(leaving.seq);
            lot_known_.erase(leaving.seq);
            if (!key.loose) --key.lot_rows;
        } else {
            queue_park(key.loose ? no_key : slot, leaving, attempts, std::move(reason));
        }
    };
    trouble.gate = Gate::parked;
    leave(first, row.attempts, row.reason);
    if (key.loose) {
        loose_parked_.insert(key.key.topic);
        if (hold) holds_.push_back({.key = key.key, .slot = no_key, .row = row});
        keys_.remove(slot);
        return;
    }
    const std::string behind = "waits behind row " + std::to_string(first.seq);
    while (!trouble.waiting.empty()) leave(take_first(trouble), 0, behind);
    if (hold) {
        holds_.push_back({.key = key.key, .slot = slot, .row = row});
        ++trouble.holds_pending;
    }
    close(slot);
}

void KeyOrder::close(std::uint32_t slot) {
    keys_[slot].trouble->gate = Gate::parked;
    keys_[slot].trouble->in_lot = true;
    closed_.insert(slot);
    for (const HeldRow& row : std::exchange(keys_[slot].behind, {})) queue_park(slot, row, 0, {});
}

void KeyOrder::queue_park(std::uint32_t slot, const HeldRow& row, std::uint32_t attempts, std::string reason) {
    bytes_ -= row.bytes;
    if (slot != no_key && !keys_[slot].loose) ++keys_[slot].trouble->parks_pending;
    parks_.push_back({.seq = row.seq, .slot = slot, .attempts = attempts, .reason = std::move(reason)});
}

}  // namespace hufu::outbox
