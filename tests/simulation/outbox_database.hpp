// A model of the business database with its outbox lane: transactions, a sequence, restarts, failovers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/outbox/store.hpp>

#include "event_queue.hpp"

namespace hufu::simulation {

/// What the two kinds of store differ in, as far as a relay can see.
enum class StoreKind : std::uint8_t {
    postgres,  ///< many writers: commits out of sequence order, transaction numbers, restarts change the identity
    sqlite,    ///< one writer: commits in sequence order
};

/// The database. Calls happen at an instant; whoever calls adds the network. Business transactions hold sequence numbers
/// while they are open, so rows appear out of order.
class OutboxDatabase {
public:
    OutboxDatabase(StoreKind kind, EventQueue& events) : kind_{kind}, events_{events} {}

    /// A writer's name for its open transaction.
    using TransactionId = std::uint64_t;

    /// Nothing while a SQLite writer is at work.
    std::optional<TransactionId> begin();
    /// Draws a sequence number at once, as an INSERT does.
    void insert(TransactionId transaction, const Message& message);
    /// False when the transaction died in a restart meanwhile.
    bool commit(TransactionId transaction);
    void abort(TransactionId transaction);

    /// Open transactions die; positions and transaction numbers mean nothing afterwards (PostgreSQL).
    void restart();
    /// Remembers the state that a lagging standby would have.
    void mark_standby();
    /// The standby takes over: what was committed since the mark is gone.
    void fail_over();

    /// Parked keys that are not released, for a person to decide: the head may be thrown away, the rest is sent.
    struct ParkedHead {
        outbox::Key key;
        MessageId head;
    };
    [[nodiscard]] std::vector<ParkedHead> parked_heads() const;
    void release_parked(const outbox::Key& key, bool discard_head);

    [[nodiscard]] bool empty() const { return state_.lane.empty() && state_.lot.empty() && state_.delayed.empty(); }
    [[nodiscard]] bool has_open_transactions() const { return !open_.empty(); }
    [[nodiscard]] std::uint64_t epoch() const { return state_.epoch; }
    [[nodiscard]] std::size_t rows() const { return state_.lane.size(); }
    [[nodiscard]] std::size_t parked() const { return state_.lot.size(); }
    [[nodiscard]] StoreKind kind() const { return kind_; }

    [[nodiscard]] std::unique_ptr<outbox::LaneLease> lease();
    [[nodiscard]] std::unique_ptr<outbox::LaneReader> reader();
    [[nodiscard]] std::unique_ptr<outbox::LaneSettler> settler();
    [[nodiscard]] std::unique_ptr<outbox::ParkingLot> parking_lot();
    [[nodiscard]] std::unique_ptr<outbox::DelayedRows> delayed_rows();

private:
    class Lease;
    class Reader;
    class Settler;
    class Lot;
    class Delayed;

    struct State {
        std::map<outbox::Sequence, outbox::Row> lane;
        std::map<outbox::Sequence, outbox::ParkedRow> lot;
        std::multimap<SystemTime, outbox::Row> delayed;
        std::string owner;
        std::uint64_t epoch = 0;
        SystemTime lease_until = {};
        outbox::Sequence sequence = 0;  // last number handed out
    };

    struct Open {
        outbox::TransactionNumber number = 0;  // what the database calls it; may be used again after a restart
        std::vector<outbox::Row> rows = {};
    };

    [[nodiscard]] std::string identity() const { return "history " + std::to_string(history_); }
    [[nodiscard]] outbox::TransactionNumber xmin() const;
    [[nodiscard]] outbox::Ownership check(const outbox::Claim& claim) const;
    outbox::Sequence next_sequence();

    const StoreKind kind_;
    EventQueue& events_;
    State state_;
    std::optional<State> standby_;
    std::map<TransactionId, Open> open_;
    TransactionId last_handle_ = 0;
    TransactionId next_transaction_ = 100;
    TransactionId durable_transaction_ = 99;  // highest that wrote something
    std::uint64_t history_ = 1;
};

}  // namespace hufu::simulation
