// One SQLite file, and transactions on it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/sqlite/statement.hpp>

namespace hufu::sqlite {

class Connection;

struct DatabaseOptions {
    bool create = true;                             ///< make the file where it is missing
    std::chrono::milliseconds busy_timeout{5'000};  ///< how long a transaction waits for its turn to write
    std::size_t idle_connections_max = 8;           ///< kept open between transactions
    Clock* clock = nullptr;                         ///< the database's clock; null: the machine's. Outlives the database
};

/// One SQLite file, opened with write-ahead log, `synchronous=FULL` (a commit has survived a power cut when it returns)
/// and foreign keys on. Keeps a few connections; a transaction borrows one.
///
/// Thread-safe. Other processes may use the file at the same time. Outlives its transactions and whatever was made from it.
class Database {
public:
    /// Throws `hufu::Exception`: `not_found` (no such file and `create` is off), `unavailable` (folder missing),
    /// `permission`, `corrupt` (not a SQLite file), `busy`.
    explicit Database(std::string path, DatabaseOptions options = {});
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    [[nodiscard]] const std::string& path() const noexcept;
    [[nodiscard]] Clock& clock() const noexcept;

    /// Tells relays, in this process and in others on this host, that rows were committed. `Transaction::commit` does it;
    /// call it after committing a transaction of your own that appended. A hint: relays also look by themselves.
    void announce_append() noexcept;
    /// What relays listen for: the name for `outbox::DatagramHintReceiver`.
    [[nodiscard]] const std::string& lane_name() const noexcept;

    struct Impl;

private:
    friend class Transaction;
    std::unique_ptr<Impl> impl_;
};

/// A transaction that began with BEGIN IMMEDIATE (or a read of one snapshot). Rolled back on destruction unless committed.
///
/// For one thread. A second write transaction on the same file waits until this one ends, so a thread must not open two.
///
///     hufu::sqlite::Transaction tx{database};
///     tx.execute("insert into orders(id, amount) values (?, ?)", order.id, order.amount);
///     outbox.append(tx, {.topic = "orders", .ordering_key = order.id, .body = to_json(order)});
///     tx.commit();
class Transaction {
public:
    enum class Access : std::uint8_t {
        write,
        write_relaxed,  ///< the commit may be lost in a power cut (never torn): for what is repeated anyway
        read,           ///< one snapshot; never waits for writers
    };

    /// Throws `busy` when the turn to write did not come within the database's `busy_timeout`.
    explicit Transaction(Database& database, Access access = Access::write);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    /// Runs one statement to its end and returns how many rows it changed.
    template <class... Values>
    std::int64_t execute(std::string_view sql, const Values&... values) {
        prepare(sql).bind(values...).run();
        return changes();
    }

    /// Runs one statement; step through its rows, before the transaction ends.
    template <class... Values>
    [[nodiscard]] Statement query(std::string_view sql, const Values&... values) {
        Statement statement = prepare(sql);
        statement.bind(values...);
        return statement;
    }

    /// A statement to bind again and again.
    [[nodiscard]] Statement prepare(std::string_view sql);
    /// The rowid of the last row inserted.
    [[nodiscard]] std::int64_t last_insert_rowid() const noexcept;

    /// Durable when it returns. Throws otherwise; `in_doubt` where the disk failed under it. The transaction has ended then too.
    void commit();
    void roll_back() noexcept;

    /// For SQLite's own functions. Lent: neither commit nor close it.
    [[nodiscard]] sqlite3* handle() const noexcept;
    [[nodiscard]] Database& database() const noexcept { return database_; }
    /// Commit will announce outbox rows. `Outbox::append` calls it.
    void mark_appended() noexcept { appended_ = true; }

private:
    [[nodiscard]] std::int64_t changes() const noexcept;
    void give_back() noexcept;

    Database& database_;
    std::unique_ptr<Connection> connection_;  // null once ended
    Access access_;
    bool appended_ = false;
};

}  // namespace hufu::sqlite
