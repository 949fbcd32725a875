// The schema `hufu` in a PostgreSQL database: its history, applied or printed, and the check at start.
#pragma once

#include <span>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/outbox/migration.hpp>

namespace hufu::postgres {

class Connection;

/// Every step so far. `outbox::printed(migrations())` is the script for those who apply it by their own tool.
[[nodiscard]] std::span<const outbox::Migration> migrations();

/// Applies the steps that are missing, each in a transaction of its own, one caller at a time (advisory lock). A step that
/// cannot get a lock within 5 s gives up with `busy`/retry instead of queueing up everybody behind it. Returns the
/// version reached. `wrong_version` if the database is newer than this program.
Result<int> migrate(const std::string& url);

/// The version the database has: 0 without the schema.
Result<int> schema_version(Connection& connection);

/// `wrong_version`/fatal with the way out unless the database has exactly the version this program knows.
Result<void> check_schema(Connection& connection);

}  // namespace hufu::postgres
