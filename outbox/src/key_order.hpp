// Order per key: which rows may be sent, which wait, which are parked.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/outbox/relay_actions.hpp>
#include <hufu/outbox/seq_set.hpp>

#include "key_table.hpp"

namespace hufu::outbox {

/// Holds every row between reading and settling, by key. A part of `RelayMachine`; no thread, no I/O.
///
/// The messages in flight of one key are in one batch; later ones wait until it came back, because a publisher may have
/// reported a failure that has not arrived here yet.
/// A key is open until a message of it fails. Then its rows gather until nothing of it is in flight, and go again from
/// the first unconfirmed one: that one alone, and the rest when it is confirmed. Where that fails for good the key is
/// parked. Rows of a parked key, and of a key that waits for its rows in the lot, go to the lot.
class KeyOrder {
public:
    KeyOrder(const RelayOptions& options, Random& random) : options_{options}, random_{random} {}

    /// A row read from the lane. `overflow`: memory is short, a row that would have to wait goes to the lot instead.
    void admit(Row row, bool overflow);
    /// A message came back. Takes it out of the batch again if it was not confirmed.
    void take_outcome(const PublishBatch::Ticket& ticket, Message& message, const PublishOutcome& outcome, SteadyTime now);
    /// Opens what has waited long enough.
    void tick(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next_retry() const;

    // To the publisher.
    [[nodiscard]] bool has_ready() const noexcept { return !ready_.empty(); }
    [[nodiscard]] std::vector<std::unique_ptr<PublishBatch>> take_ready() { return std::exchange(ready_, {}); }

    // To the settler. What is taken is gone from here; hand it back if the call failed.
    [[nodiscard]] std::vector<Sequence>& confirmed() noexcept { return confirmed_; }
    [[nodiscard]] std::vector<std::pair<Sequence, std::uint32_t>>& lot_confirmed() noexcept { return lot_confirmed_; }
    void lot_settled(const std::vector<std::pair<Sequence, std::uint32_t>>& rows);

    // To the lot, in this order: park, hold, drain.
    [[nodiscard]] std::vector<ParkRow> next_park(std::size_t limit) const;
    /// The first `count` rows of the queue were parked. Returns their numbers.
    std::vector<Sequence> parked(std::size_t count);
    [[nodiscard]] std::optional<std::pair<Key, ParkRow>> next_hold() const;
    void held();
    [[nodiscard]] std::optional<ReadReleased> next_drain();
    void drained(const ReadReleased& request, std::vector<ParkedRow> rows);
    /// The lot's keys, listed after everything asked of the lot before.
    void take_list(const std::vector<ParkedKey>& keys);

    [[nodiscard]] SeqSet& known() noexcept { return known_; }
    [[nodiscard]] const SeqSet& known() const noexcept { return known_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] std::size_t parks_queued() const noexcept { return parks_.size(); }
    [[nodiscard]] bool any_closed() const noexcept { return !closed_.empty() || !loose_parked_.empty(); }
    [[nodiscard]] std::size_t closed() const noexcept { return closed_.size(); }
    [[nodiscard]] std::size_t blocked() const noexcept { return blocked_.size(); }

private:
    struct QueuedPark {
        Sequence seq = 0;
        std::uint32_t slot = no_key;
        std::uint32_t attempts = 0;
        std::string reason = {};
    };
    struct QueuedHold {
        Key key = {};
        std::uint32_t slot = no_key;
        ParkRow row = {};
    };

    void take_in(HeldRow& row);
    void send(HeldRow row, std::uint32_t slot);
    void send_behind(std::uint32_t slot);
    void wait(Trouble& trouble, HeldRow row);
    HeldRow take_first(Trouble& trouble);
    void resolve(std::uint32_t slot, SteadyTime now);
    void park(std::uint32_t slot);
    void queue_park(std::uint32_t slot, const HeldRow& row, std::uint32_t attempts, std::string reason);
    void open_or_drain(std::uint32_t slot);
    void queue_drain(std::uint32_t slot);
    void probe(std::uint32_t slot);
    void close(std::uint32_t slot);
    void remove_if_idle(std::uint32_t slot);

    const RelayOptions& options_;
    Random& random_;
    KeyTable keys_;
    SeqSet known_;
    SeqSet lot_known_;  // of these, what was read from the lot; a row just moved there may still be known as the lane's
    std::vector<std::unique_ptr<PublishBatch>> ready_;
    std::uint64_t last_batch_ = 0;  // names the last of ready_
    std::vector<Sequence> confirmed_;
    std::vector<std::pair<Sequence, std::uint32_t>> lot_confirmed_;
    std::multimap<SteadyTime, std::uint32_t> blocked_;
    std::set<std::uint32_t> closed_;      // slots with gate parked
    std::set<std::string> loose_parked_;  // topics that have parked rows without a key
    std::deque<QueuedPark> parks_;
    std::deque<QueuedHold> holds_;
    std::deque<ReadReleased> loose_drains_;
    std::deque<std::uint32_t> drains_;
    std::uint64_t listing_ = 0;
    std::size_t bytes_ = 0;
    std::size_t waiting_ = 0;
};

}  // namespace hufu::outbox
