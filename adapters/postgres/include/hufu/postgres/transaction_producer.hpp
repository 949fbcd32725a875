// Transaction messages whose local transaction is one of PostgreSQL.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <pqxx/transaction>

#include <hufu/core/clock.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/random.hpp>
#include <hufu/postgres/verdicts.hpp>
#include <hufu/txmsg/producer.hpp>

namespace hufu::postgres {

/// Rows and messages together or not at all, without an outbox: halves are stored at the broker, the local transaction runs
/// with its verdict row first, commits, and the broker is told. Whatever dies in between, check-back settles it from the
/// verdict row; this producer answers checks from its construction on (`ProducerOptions::responder`).
///
/// Thread-safe: sends run side by side, each on a connection of its own. Borrows `halves`, `clock` and `random`.
///
///     hufu::postgres::TransactionProducer producer{url, *halves, {.group = "orders"}};
///     auto sent = producer.send(order_paid, [&](pqxx::work& tx) { mark_paid(tx, order.id); });
class TransactionProducer {
public:
    using Local = txmsg::Local<pqxx::work>;

    /// The database must have the schema (`migrate`). Throws `hufu::Exception`: `unavailable` (database away),
    /// `wrong_version` (no schema), `fenced` (a standby or another server's dump), `invalid_argument` (group).
    TransactionProducer(std::string url, txmsg::HalfPublisher& halves, txmsg::ProducerOptions options,
                        Clock& clock = system_clock(), Random& random = system_random(), VerdictStoreOptions store = {});
    /// Stops answering checks. No send may be running.
    ~TransactionProducer();
    TransactionProducer(const TransactionProducer&) = delete;
    TransactionProducer& operator=(const TransactionProducer&) = delete;

    /// Sends one message, or several that become visible together; nil ids are minted. `local` may return
    /// `txmsg::Decision::rollback`, or nothing. Its transaction is READ COMMITTED unless the database says otherwise, and
    /// must keep `synchronous_commit` on.
    ///
    /// `committed`: the rows are there and the messages will be, whether the broker answered or not. `rolled_back`: neither,
    /// ever; `error` says why unless `local` wanted it. `in_doubt`: the connection was lost at COMMIT and the database
    /// could not be asked in time; check-back decides later, the same for rows and messages.
    ///
    /// Throws what `local` throws, after rolling back and telling the broker; and `invalid_argument` for messages that no
    /// broker takes, before anything was done.
    [[nodiscard]] txmsg::TransactionResult send(Message message, const Local& local, const txmsg::SendOptions& options = {});
    [[nodiscard]] txmsg::TransactionResult send(std::vector<Message> messages, const Local& local,
                                                const txmsg::SendOptions& options = {});

    /// For `purge` and `look`.
    [[nodiscard]] VerdictStore& verdicts() noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::postgres
