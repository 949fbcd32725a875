// What an operator wants to know of a PostgreSQL server that holds an outbox.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <hufu/core/error.hpp>

namespace hufu::postgres {

/// A look at one moment.
struct Health {
    std::string peer = {};                ///< host:port/database
    std::string server_version = {};      ///< "15.8"
    bool standby = false;                 ///< a replica: nothing can be written to it
    int schema_version = 0;               ///< 0: no schema `hufu`
    int schema_wanted = 0;                ///< what this program knows
    std::string synchronous_commit = {};  ///< as a new session of this user gets it
    bool fsync = true;
    bool full_page_writes = true;
    /// The transaction that has been open longest, of any session of this database; none: nobody has one.
    struct Open {
        std::chrono::milliseconds age{0};
        std::int64_t pid = 0;
        std::string application = {};
        std::string state = {};  ///< "active", "idle in transaction"
    };
    std::optional<Open> oldest_transaction = {};
    /// Transactions since the oldest snapshot that somebody holds (session, prepared transaction or replication slot): rows
    /// deleted since then, which are the outbox's delivered ones, cannot be removed.
    std::int64_t oldest_snapshot_age = 0;
    std::string oldest_snapshot_holder = {};  ///< "session 4711 (psql)", "prepared transaction x", "replication slot y"
    std::int64_t prepared_transactions = 0;
    std::int64_t connections = 0;
    std::int64_t connections_max = 0;
};

/// Connects, looks, disconnects. Errors as `Connection::open`'s.
[[nodiscard]] Result<Health> examine(const std::string& url);

}  // namespace hufu::postgres
