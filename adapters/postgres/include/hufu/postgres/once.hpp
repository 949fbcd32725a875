// One effect per message and consumer group, in one PostgreSQL transaction.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <pqxx/connection>
#include <pqxx/transaction>

#include <hufu/core/handler.hpp>
#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/http.hpp>
#include <hufu/idempotency/once.hpp>
#include <hufu/idempotency/outgoing.hpp>
#include <hufu/postgres/outbox.hpp>

namespace hufu::postgres {

/// pqxx connections to one database, opened when needed, kept for reuse, at most as many as are in use at once.
/// Thread-safe. Outlives what it has lent.
class ConnectionPool {
public:
    explicit ConnectionPool(std::string url);
    ~ConnectionPool();
    ConnectionPool(const ConnectionPool&) = delete;
    ConnectionPool& operator=(const ConnectionPool&) = delete;

    /// Back in the pool when destroyed, unless it is broken.
    class Lent {
    public:
        Lent(ConnectionPool& pool, std::unique_ptr<pqxx::connection> connection);
        ~Lent();
        Lent(Lent&&) noexcept = default;
        pqxx::connection& operator*() const noexcept { return *connection_; }
        pqxx::connection* operator->() const noexcept { return connection_.get(); }

    private:
        ConnectionPool* pool_;
        std::unique_ptr<pqxx::connection> connection_;
    };
    /// Errors: `unavailable`/retry, and those of a wrong address.
    Result<Lent> lend();

private:
    std::string url_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<pqxx::connection>> idle_;  // guarded by mutex_
};

/// What a user writes: changes rows, appends messages (`Outbox::append`), says how it went. Must neither commit nor abort.
/// An exception rolls everything back and counts as `retry`. Return `idempotency::EffectResult` to keep bytes for duplicates.
using Effect = std::function<idempotency::EffectResult(pqxx::work&, const Message&)>;

/// Wraps `effect` for a consumer: guard row (inserted first), the effect's rows and its outgoing messages are one
/// transaction. The effect of a message takes place once for `group`, however often the message is delivered, here or in
/// other processes; duplicates end as `already_done`. Of two deliveries at the same time the second waits for the first.
///
/// Where the message asks `group` for a receipt (`outbox::Receipts`), it is appended to this database's outbox in the same
/// transaction; a duplicate appends it again, `reject` a refusal. A relay on this outbox carries them to the sender.
///
/// The handler may run on many threads at once, each with a connection of its own. `pool` outlives it.
[[nodiscard]] Handler once(ConnectionPool& pool, std::string group, Effect effect);
/// Says beforehand for how long messages are remembered and how late duplicates may come. Throws `hufu::Exception` with the
/// arithmetic where the window is too short (`idempotency::check`). Clean up by the same declaration (`purge_guards`).
[[nodiscard]] Handler once(ConnectionPool& pool, const idempotency::GuardDeclaration& declaration, Effect effect);
/// With a pool of its own.
[[nodiscard]] Handler once(const std::string& url, std::string group, Effect effect);

/// An effect that sends: what it adds to `Outgoing` commits with it.
using Process = std::function<idempotency::EffectResult(pqxx::work&, const Message&, idempotency::Outgoing& outgoing)>;

/// Consume, process, produce in one call: guard row, effect and outgoing messages are one transaction. What is sent has ids
/// that follow from group, incoming id and place (`idempotency::derived_id`), the same however often the effect is run.
[[nodiscard]] Handler once(ConnectionPool& pool, std::string group, Process process, OutboxOptions options = {});
/// `process` as an effect, for whatever takes one.
[[nodiscard]] Effect sending(std::string group, Process process, OutboxOptions options = {});

/// The same for batches: the guard rows and effects of up to `ConsumerOptions::batch_max` messages are one transaction with one
/// commit. A message that fails takes no other with it (`idempotency::run_once_batch`).
[[nodiscard]] BatchHandler once_batch(ConnectionPool& pool, std::string group, Effect effect);
[[nodiscard]] BatchHandler once_batch(ConnectionPool& pool, std::string group, Process process, OutboxOptions options = {});

/// The same for one message, with the stored result: for edges that answer a caller. `first_stored_at` is when the
/// message (or request) was first accepted anywhere; see `idempotency::first_stored_at`.
[[nodiscard]] idempotency::OnceOutcome run_once(ConnectionPool& pool, const idempotency::GuardKey& key,
                                                SystemTime first_stored_at,
                                                const std::function<idempotency::EffectResult(pqxx::work&)>& effect);

/// The HTTP edge on this database: guard row, the application's changes and its answer are one transaction. While the first
/// request of a key runs, a repeated one waits up to `wait`, and is answered 409 then. A request without a key runs in a
/// transaction that is committed unless it answers 500 or more. Exceptions of `application` pass through, after the roll-back.
[[nodiscard]] idempotency::HttpReply answer_once(ConnectionPool& pool, const idempotency::HttpGuard& edge,
                                                 const idempotency::HttpCall& call, std::chrono::milliseconds wait,
                                                 const std::function<idempotency::HttpReply(pqxx::work&)>& application);

using idempotency::Purged;

/// Deletes the guard rows of the declared group that are older than its window by the database's clock, in short transactions
/// that walk the primary key: ids that carry their time (UUIDv7) are looked at up to the cut and no further, others all. First
/// moves the group's horizon up to five minutes (clocks differ) after the cut. Refuses what `idempotency::check_retention` does.
/// May be repeated, and run by several at once. `rows_per_transaction`: how many rows one transaction looks at.
Result<Purged> purge_guards(ConnectionPool& pool, const idempotency::GuardDeclaration& declaration,
                            int rows_per_transaction = 5'000);
/// The same where nobody has declared how late duplicates may come: `retention` must exceed how long a message can live.
Result<Purged> purge_guards(ConnectionPool& pool, const std::string& group, std::chrono::hours retention);

/// The groups that have guard rows, at most a thousand of them. Reads one row of each.
Result<std::vector<std::string>> guard_groups(ConnectionPool& pool);

}  // namespace hufu::postgres
