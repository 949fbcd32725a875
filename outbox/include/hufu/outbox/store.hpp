// What the relay asks of a database: the store ports, split by who calls them on which connection.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/outbox/awaiting.hpp>

// Rules that hold for every port in this file:
// - One lane is one table and one sequence. A row means "not yet confirmed by the broker". Rows are inserted and
//   deleted, never updated.
// - An object is used by one thread at a time and has a database connection of its own. It connects at its first call
//   and again at the first call after the connection was lost; the call that met the loss returns an error.
// - Every call is one transaction of its own (none when it only reads). None is open when a call returns.
// - Errors: `retry`, `in_doubt` and `abort_transaction` are waited out by the relay and the call is made again, so every
//   call can be repeated safely; `reject` and `fatal` stop the relay.
namespace hufu::outbox {

/// A row's place in its lane. Drawn from the lane's sequence by the writer, under its business row locks, so that rows
/// of one key are numbered in the order of their transactions. Positive; holes are normal.
using Sequence = std::int64_t;

/// A transaction's number in the database, 64 bits, never reused within one `identity`.
using TransactionNumber = std::uint64_t;

/// A row of the lane.
struct Row {
    Sequence seq = 0;
    SystemTime created_at = {};  ///< database time at append
    Message message = {};
};

/// The right to work on a lane. Every writing call of the owner carries it.
struct Claim {
    std::uint64_t epoch = 0;    ///< grows with every change of owner
    std::string identity = {};  ///< the database's, as in `Page::identity`, when the lane was claimed
};

/// What an owner's call found about its own claim, checked in the same transaction as the work.
enum class Ownership : std::uint8_t {
    held,      ///< epoch and identity fit; the work is done
    fenced,    ///< another owner has a higher epoch; nothing was done
    moved_on,  ///< this is not the database the claim was made in (restart, failover, restore); nothing was done
};

/// Who owns the lane, decided by the database's clock alone.
class LaneLease {
public:
    virtual ~LaneLease() = default;
    /// Takes the lane if nobody's lease is running, or if `owner` itself holds it, and raises the epoch. Nothing while
    /// another owner's lease runs. `owner` names this relay instance uniquely (also across restarts of a process).
    virtual Result<std::optional<Claim>> acquire(std::string_view owner, std::chrono::milliseconds lease) = 0;
    /// Lets the lease run for another `lease` from the database's now, if the epoch is still ours (also when the lease
    /// ran out meanwhile and nobody took the lane).
    virtual Result<Ownership> renew(const Claim& claim, std::chrono::milliseconds lease) = 0;
    /// Ends the lease at once, so that another relay need not wait for it. Does nothing if the lane is not ours any more.
    virtual Result<void> release(const Claim& claim) = 0;
};

/// Where reading begins. `base` is read first and `bound` drawn after it, so every transaction that drew a sequence
/// number up to `base` has a transaction number below `bound`.
struct LaneStart {
    std::string identity = {};
    Sequence base = 0;              ///< highest number the sequence has handed out; 0 if commits_in_order
    TransactionNumber bound = 0;    ///< 0 if commits_in_order
    bool commits_in_order = false;  ///< the store has one writer at a time: rows become visible in sequence order
};

/// Which rows to read: the `limit` lowest of three sets together, seen in one snapshot.
/// Because every earlier visible row of a key is among the lower ones, what comes back never skips a row of a key.
struct ReadRequest {
    Sequence after = 0;                ///< set 1: rows with seq > after
    std::vector<Sequence> holes = {};  ///< set 2: these rows (ascending, all ≤ after)
    Sequence upto = 0;                 ///< set 3: rows with seq ≤ upto (≤ after) that are not in `skip`; 0: none
    std::vector<Sequence> skip = {};   ///< ascending
    std::size_t limit = 0;             ///< at least 1
};

struct Page {
    std::vector<Row> rows = {};  ///< ascending by seq, at most `limit`
    TransactionNumber xmin = 0;  ///< of the snapshot: every transaction with a lower number has ended; 0 if commits_in_order
    /// Names the history that positions and transaction numbers belong to. PostgreSQL: system identifier, timeline,
    /// postmaster start; SQLite: the id stored in the file. Any change makes the relay forget its position.
    std::string identity = {};
};

/// Reads the lane. The only caller is the owner's reader thread.
class LaneReader {
public:
    virtual ~LaneReader() = default;
    virtual Result<LaneStart> start() = 0;
    virtual Result<Page> read(const ReadRequest& request) = 0;
    /// How many rows with seq ≤ `upto` exist that are not in `known` (ascending). The safety net: must be 0.
    virtual Result<std::uint64_t> count_unknown(Sequence upto, std::span<const Sequence> known) = 0;
};

struct Settled {
    Ownership ownership = Ownership::held;
    /// Number of the transaction that settled, drawn inside this call; 0 if commits_in_order or not held. The gap
    /// tracker bounds with it the holes it knew before the call.
    TransactionNumber transaction = 0;
};

/// Deletes confirmed rows. The only caller is the owner's settler thread.
class LaneSettler {
public:
    virtual ~LaneSettler() = default;
    /// Deletes exactly the rows `seqs` (those that still exist) if the claim holds. `seqs` may be empty: then it only
    /// checks the claim and draws a transaction number. May be less durable than other commits: a lost deletion is a
    /// message sent twice.
    /// `awaited`: those of the messages that ask for receipts. In the same transaction each is noted as sent, and its
    /// receipts are due after its deadline from now; one that was completed already is passed over.
    virtual Result<Settled> settle(const Claim& claim, std::span<const Sequence> seqs,
                                   std::span<const MessageId> awaited) = 0;
    Result<Settled> settle(const Claim& claim, std::span<const Sequence> seqs) { return settle(claim, seqs, {}); }
};

/// An ordering key: order holds within one. Rows without an ordering key are parked and released one by one.
struct Key {
    std::string topic = {};
    std::string ordering_key = {};
    friend auto operator<=>(const Key&, const Key&) = default;
};

/// A row to park. The store moves it out of the lane as it is.
struct ParkRow {
    Sequence seq = 0;
    std::uint32_t attempts = 0;  ///< 0 for successors, which were not tried
    std::string reason = {};     ///< the error's sentence; for successors, what they wait behind
    bool released = false;       ///< true: parked only to wait behind rows of its key that are being released
};

struct ParkedRow {
    Row row = {};
    std::uint32_t attempts = 0;
    std::string reason = {};
    SystemTime parked_at = {};
    bool released = false;
};

/// What is parked of one key (of one topic's rows without a key, where `key.ordering_key` is empty).
struct ParkedKey {
    Key key = {};
    std::uint64_t rows = 0;
    std::uint64_t rows_released = 0;
    Sequence first_seq = 0;
    std::uint32_t attempts = 0;  ///< of the first row
    std::string reason = {};     ///< of the first row
    SystemTime parked_at = {};   ///< of the first row
};

/// Which parked rows a person means: all of a key, or one row.
struct ParkedSelection {
    Key key = {};
    std::optional<Sequence> seq = {};
};

/// Who did it and why, for the audit.
struct AuditNote {
    std::string who = {};
    std::string why = {};
};

struct AuditEntry {
    SystemTime at = {};       ///< database time
    std::string action = {};  ///< `release`, `discard` or `resend`
    ParkedSelection selection = {};
    std::uint64_t rows = 0;
    AuditNote note = {};
};

/// Rows that could not be sent, kept in order per key until a person decides. Used by the owner (first group) and by
/// `hufu outbox` in any process (second group). A key is released as a whole: when any of its rows is marked released, all
/// of them are to be sent, also those parked later. Only rows without an ordering key are released one by one.
class ParkingLot {
public:
    virtual ~ParkingLot() = default;

    // The owner's.
    /// Moves lane rows into the lot, in one transaction, if the claim holds. Rows that are not in the lane any more
    /// (an earlier call whose answer was lost) are passed over.
    virtual Result<Ownership> park(const Claim& claim, std::span<const ParkRow> rows) = 0;
    /// If any row of the key is marked released: all its rows with seq > after, ascending, at most `limit`. For an empty
    /// ordering key: the marked rows of the topic that have no key.
    virtual Result<std::vector<ParkedRow>> read_released(const Key& key, Sequence after, std::size_t limit) = 0;
    /// Deletes parked rows that the broker confirmed, if the claim holds. `awaited` as in `LaneSettler::settle`.
    virtual Result<Ownership> settle(const Claim& claim, std::span<const Sequence> seqs,
                                     std::span<const MessageId> awaited) = 0;
    Result<Ownership> settle(const Claim& claim, std::span<const Sequence> seqs) { return settle(claim, seqs, {}); }
    /// A released row failed again: no row of its key (for a row without a key: only itself) is released any more;
    /// `row.seq` gets the new attempts and reason.
    virtual Result<Ownership> hold(const Claim& claim, const Key& key, const ParkRow& row) = 0;

    // Everybody's.
    /// Every key with parked rows, by topic, then key.
    virtual Result<std::vector<ParkedKey>> list() = 0;
    virtual Result<std::vector<ParkedRow>> show(const Key& key, std::size_t limit) = 0;
    /// Marks rows for sending and writes the audit; the owner sends them in order. Returns how many. A single row that
    /// has an ordering key is refused (`reject`: release the key, or discard the row). `not_found` if none is parked.
    virtual Result<std::uint64_t> release(const ParkedSelection& selection, const AuditNote& note) = 0;
    /// Deletes rows for ever and writes the audit; those that ask for receipts end as `discarded`. Returns how many.
    /// `not_found` if none is parked.
    virtual Result<std::uint64_t> discard(const ParkedSelection& selection, const AuditNote& note) = 0;
    /// Latest first.
    virtual Result<std::vector<AuditEntry>> audit(std::size_t limit) = 0;
};

struct Moved {
    Ownership ownership = Ownership::held;
    std::size_t rows = 0;
    std::optional<std::chrono::milliseconds> next_due_in = {};  ///< database time until the next one, if any is left
};

/// Messages with a `deliver_at` in the future.
class DelayedRows {
public:
    virtual ~DelayedRows() = default;
    /// Moves up to `limit` due rows (database time, earliest first) into the lane, with new sequence numbers, the
    /// original `created_at` and no `deliver_at`, if the claim holds.
    virtual Result<Moved> move_due(const Claim& claim, std::size_t limit) = 0;
};

struct LaneOwner {
    std::string owner = {};
    std::uint64_t epoch = 0;
    std::chrono::milliseconds lease_left{0};  ///< negative: ran out that long ago
};

/// For `hufu outbox status`.
struct Status {
    std::uint64_t pending = 0;                                 ///< rows in the lane
    std::optional<std::chrono::milliseconds> oldest_age = {};  ///< of the oldest of them, database time
    std::uint64_t parked_rows = 0;
    std::uint64_t parked_keys = 0;
    std::uint64_t delayed = 0;
    std::optional<std::chrono::milliseconds> next_due_in = {};
    std::uint64_t awaiting = 0;           ///< messages that wait for receipts, parked ones included
    std::uint64_t awaiting_parked = 0;    ///< of these: refused, or out of re-sends
    std::optional<LaneOwner> owner = {};  ///< nothing if the lane was never owned
    int schema_version = 0;
};

/// One lane of one database. Hands out its ports, each with a connection of its own. Thread-safe; outlives what it
/// hands out. Nothing here connects: connection errors come from the ports' calls.
class Store {
public:
    virtual ~Store() = default;
    [[nodiscard]] virtual std::unique_ptr<LaneLease> lease() = 0;
    [[nodiscard]] virtual std::unique_ptr<LaneReader> reader() = 0;
    [[nodiscard]] virtual std::unique_ptr<LaneSettler> settler() = 0;
    [[nodiscard]] virtual std::unique_ptr<ParkingLot> parking_lot() = 0;
    [[nodiscard]] virtual std::unique_ptr<DelayedRows> delayed_rows() = 0;
    [[nodiscard]] virtual std::unique_ptr<AwaitingRows> awaiting_rows() = 0;
    virtual Result<Status> status() = 0;
    /// For messages to people: database and lane, without secrets.
    [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace hufu::outbox
