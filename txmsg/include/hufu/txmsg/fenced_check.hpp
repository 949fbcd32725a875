// How a check is settled in a verdict table, decided without a database.
#pragma once

#include <cstdint>
#include <optional>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::txmsg {

/// What the insertion of a tombstone met.
enum class Tombstone : std::uint8_t {
    inserted,  ///< no row was there; ours is, when we commit
    present,   ///< a committed row is there already: read it
    locked,    ///< another transaction is inserting, and did not end within the bound
    again,     ///< the database wants this transaction to be run once more (serialisation failure, deadlock)
};

/// What a statement of its own, after the insertion, reads.
struct VerdictRow {
    std::optional<Verdict> verdict = {};  ///< commit or rollback; none: no row (only when no tombstone was inserted)
    SystemTime watermark = {};            ///< rows of transactions minted earlier may have been purged; epoch: none was
};

/// The verdict table as one open transaction of a checker sees it: READ COMMITTED, every wait bounded.
/// An error leaves the transaction to be rolled back.
class VerdictRows {
public:
    virtual ~VerdictRows() = default;
    virtual Result<void> begin() = 0;
    virtual Result<Tombstone> insert_tombstone(const TransactionId& transaction) = 0;
    virtual Result<VerdictRow> read(const TransactionId& transaction) = 0;
    virtual Result<void> commit() = 0;
    virtual void roll_back() noexcept = 0;
};

enum class FencedAction : std::uint8_t { begin, insert_tombstone, read, commit, roll_back, finished };

/// The steps of one check: begin, insert the tombstone, read, commit.
///
/// Why in this order. Insert before read: a local transaction that is not decided yet meets our row at the unique key, so
/// what we say holds. Read the watermark after the insertion: a row that was purged before our insertion was purged after
/// the watermark had moved, so a statement that begins now sees it; then our tombstone is taken back and nothing is said.
/// The id's own time (UUIDv7) is compared with the watermark, and purging goes by the same: no two clocks are compared.
///
/// Not thread-safe; one object per check. Borrows nothing.
class FencedCheck {
public:
    explicit FencedCheck(const TransactionId& transaction);

    [[nodiscard]] const TransactionId& transaction() const noexcept { return transaction_; }
    [[nodiscard]] FencedAction next() const noexcept { return next_; }

    void done();                      ///< `begin`, `commit` or `roll_back` is done
    void inserted(Tombstone answer);  ///< `insert_tombstone` has answered
    void seen(const VerdictRow& row);
    void failed(Error error);  ///< the step has failed; an open transaction is rolled back next

    /// At `finished`.
    [[nodiscard]] const Result<Seen>& outcome() const noexcept { return outcome_; }

private:
    void end_with(Result<Seen> outcome);
    [[nodiscard]] bool maybe_purged(SystemTime watermark) const;

    TransactionId transaction_;
    FencedAction next_ = FencedAction::begin;
    bool open_ = false;
    bool tombstone_ = false;  // ours, not committed
    bool again_ = false;      // run once more after the rollback
    int runs_ = 1;
    Result<Seen> outcome_ = Seen::ongoing;
};

/// Drives a check to its end: what every store's `check` does.
[[nodiscard]] Result<Seen> run_check(FencedCheck check, VerdictRows& rows);

/// When the transaction was begun, as its id says; the epoch where the id is not a UUIDv7 and says nothing.
[[nodiscard]] SystemTime begun_at(const TransactionId& transaction) noexcept;

}  // namespace hufu::txmsg
