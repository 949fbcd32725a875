// The relay's decisions: who owns the lane, what to read, send, settle, park, and when.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <hufu/core/random.hpp>
#include <hufu/outbox/relay_actions.hpp>

namespace hufu::outbox {

/// Running totals and levels, for metrics and tests.
struct RelayFigures {
    std::uint64_t read = 0;       ///< rows taken in
    std::uint64_t published = 0;  ///< messages confirmed by the broker
    std::uint64_t resent = 0;     ///< messages handed to the publisher once more
    std::uint64_t settled = 0;    ///< rows deleted after their confirmation
    std::uint64_t parked = 0;     ///< rows moved to the parking lot
    std::uint64_t delayed_moved = 0;
    std::uint64_t late_rows = 0;  ///< rows the safety net found: must stay 0
    std::uint64_t takeovers = 0;  ///< times the lane was claimed
    std::uint64_t lost = 0;       ///< times the claim was lost
    std::uint64_t store_errors = 0;
    std::uint64_t epoch = 0;         ///< 0 while another relay owns the lane
    std::uint64_t keys_parked = 0;   ///< keys closed by parked rows, as last seen
    std::uint64_t keys_blocked = 0;  ///< keys waiting to be tried again
    std::uint64_t rows_held = 0;     ///< read and not settled
    std::uint64_t bytes_held = 0;
    std::uint64_t holes = 0;
    SystemTime last_confirmed_created_at = {};  ///< append time of the row confirmed last; for the lag
    Error last_error = {};                      ///< latest failure of store or broker, for people
};

/// One relay on one lane, as a state machine: takes what happened, says what to do. Owns no thread, socket or clock.
///
/// Use: tell it what happened (the event functions), then call `step(now)` and obey what it returns; call `step` again
/// at `tick_at` at the latest. One thread at a time. A machine that is simply destroyed is a relay that crashed.
///
/// Delivery: every row is published until the broker confirms it, and settled only then. Rows of a (topic, ordering
/// key) are confirmed in sequence order. A row that is rejected, or fails in all attempts, is parked with every later
/// row of its key.
///
/// Ownership: it sends only while its claim is younger than lease − margin by the local steady clock, counted from the
/// moment the renewal was asked for. When any call says that the claim is gone, everything in flight is dropped (their
/// outcomes are ignored) and it waits as a standby.
///
/// Errors: retryable ones are waited out on `store_retry`. After a fatal one, or a `reject`, nothing new is begun; when
/// all is answered `finished` is set and `error()` tells which it was.
class RelayMachine {
public:
    /// `options.owner` must be set. Borrows `random` for its life.
    RelayMachine(RelayOptions options, Random& random);
    ~RelayMachine();
    RelayMachine(const RelayMachine&) = delete;
    RelayMachine& operator=(const RelayMachine&) = delete;

    void lease_done(Result<LeaseReply> reply, SteadyTime now);
    void read_done(Result<LaneReply> reply, SteadyTime now);
    void settle_done(Result<Settled> reply, SteadyTime now);
    void lot_done(Result<LotReply> reply, SteadyTime now);
    void published(std::unique_ptr<PublishBatch> batch, SteadyTime now);
    /// There may be new rows.
    void wake();
    /// Send nothing more, settle what is confirmed, release the lane, finish.
    void stop();

    [[nodiscard]] RelayActions step(SteadyTime now);

    [[nodiscard]] const RelayFigures& figures() const noexcept;
    /// Why it finished by itself.
    [[nodiscard]] const std::optional<Error>& error() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::outbox
