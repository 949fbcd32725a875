// Lock, check, update on PostgreSQL; and its advisory locks as a provider.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <pqxx/transaction>

#include <hufu/idempotency/lock.hpp>
#include <hufu/postgres/once.hpp>

namespace hufu::postgres {

/// Makes `tx` carry the lock's token: throws `fenced` where the database has seen a newer one for `name`, and otherwise keeps
/// every other holder's update of that name out until `tx` ends. Call it before reading what the update depends on.
/// `stall`: after standing still for so long inside the transaction the server ends it, so that a holder that was stopped does
/// not block the next one for ever. Needs the schema's table `hufu.fence`.
void carry_token(pqxx::transaction_base& tx, const std::string& name, idempotency::FencingToken token,
                 std::chrono::milliseconds stall = std::chrono::seconds{30});

/// Lock → check → update in one call: takes `name` from `locks`, and runs `effect` in a transaction that carries the token.
/// `effect` reads, decides and changes; must neither commit nor abort. Returns what it returned (`done` is committed), or
/// `retry` with the reason when the lock was busy or lost or the token was older: nothing was changed then. `stall` as above.
[[nodiscard]] idempotency::OnceOutcome lock_check_update(ConnectionPool& pool, idempotency::LockProvider& locks,
                                                         const std::string& name, std::chrono::milliseconds wait,
                                                         const std::function<idempotency::EffectResult(pqxx::work&)>& effect,
                                                         std::chrono::milliseconds stall = std::chrono::seconds{30});

/// PostgreSQL's advisory locks, one session each: given up when the holder's connection ends. The token is counted in
/// `hufu.fence` of the same database.
///
/// A holder that stands still keeps its lock as long as its connection lives; `tcp_user_timeout` and keepalives in the URL say
/// how long that is. Thread-safe. Borrows the pool; outlives its locks.
class AdvisoryLocks final : public idempotency::LockProvider {
public:
    explicit AdvisoryLocks(ConnectionPool& pool) : pool_{pool} {}
    Result<std::unique_ptr<idempotency::Lock>> acquire(const std::string& name, std::chrono::milliseconds wait) override;

private:
    ConnectionPool& pool_;
};

/// Where rows are found: names as in SQL, without quotes; `table` may be "schema.table". A key is written
/// as text and read as the column's type.
struct RowPlace {
    std::string table = {};
    std::string key_column = "id";
    std::string version_column = "version";
};

/// The version guard: adds one to the row's version if it is `expected`, and returns the new one. Throws `conflict`/
/// abort_transaction (read again and decide anew) where it is another, `not_found`/reject where there is no such row.
std::int64_t advance_version(pqxx::transaction_base& tx, const RowPlace& place, const std::string& key,
                             std::int64_t expected);

/// The row-lock guard: keeps the row as it is until `tx` ends. False: there is no such row. Throws `busy`/abort_transaction
/// when another transaction still holds it after `wait`.
bool lock_row(pqxx::transaction_base& tx, const RowPlace& place, const std::string& key, std::chrono::milliseconds wait);

}  // namespace hufu::postgres
