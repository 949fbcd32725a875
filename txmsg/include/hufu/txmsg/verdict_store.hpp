// Where the outcome of local transactions is known: one row per transaction, in the business database.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/txmsg/half_publisher.hpp>

namespace hufu::txmsg {

/// What a verdict store says of a transaction.
enum class Seen : std::uint8_t {
    committed,         ///< its verdict row is there: the business rows are, too
    rolled_back,       ///< a tombstone is there (perhaps as of now): it can never commit any more
    ongoing,           ///< it is running, or nobody could tell within the bound; ask again
    beyond_retention,  ///< so old that its row may have been purged: nobody can tell any more; a person must
};

[[nodiscard]] std::string_view to_string(Seen seen) noexcept;

struct Purged {
    std::uint64_t rows = 0;
    SystemTime watermark = {};  ///< transactions that began earlier and have no row are `beyond_retention` from now on
    bool finished = true;       ///< false: older transactions still run; call again, and more rows go
};

/// The verdict table as a checker sees it: the counterpart of the row that a producer's local transaction inserts first.
///
/// Rule: one row per transaction, first one wins. A local transaction inserts `commit`; a check inserts `rollback` (the
/// tombstone). The unique key lets one of them in; the other one waits for its end (bounded), then knows.
/// So a transaction that a check has called rolled back can never commit later.
///
/// Thread-safe. Never blocks longer than the store's bound (see the implementation's options).
class VerdictStore {
public:
    virtual ~VerdictStore() = default;

    /// Identity of this store, which halves carry: a check for another store is not answered. Kept by the database, so all
    /// processes of the service see the same. Errors as for `check`.
    virtual Result<std::string> uuid() = 0;

    /// Settles `transaction`: tombstone first, then read. Errors: `fenced` (this database must not answer: a replica, or a
    /// copy of another one), `wrong_version` (no table), `permission` (read-only), `unavailable`, `timeout`. After any
    /// error the same call may be made again, except `fatal` ones, for which a person is needed.
    virtual Result<Seen> check(const TransactionId& transaction) = 0;

    /// What is there, without settling anything: `committed`, `rolled_back`, or nothing (a running transaction included).
    virtual Result<std::optional<Seen>> look(const TransactionId& transaction) = 0;

    /// Deletes rows of transactions that began and ended longer ago than `retention`, in short transactions, after moving
    /// the watermark. `retention` must exceed how long a broker may ask: its check budget, and the time in which a parked
    /// transaction may be resumed. `invalid_argument` below an hour.
    virtual Result<Purged> purge(std::chrono::hours retention) = 0;
};

}  // namespace hufu::txmsg
