// Hufu's tables in a SQLite file, and their versions.
#pragma once

#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/outbox/migration.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// Every step so far. `outbox::printed` makes a script of it for those who apply schema changes by other means.
[[nodiscard]] std::vector<outbox::Migration> migrations();

/// Applies the steps that the file lacks, all in one transaction, and returns how many. Safe to call at every start and
/// from several processes at once. `wrong_version` when the file was made by a newer program.
Result<int> migrate(Database& database);

/// 0 where there are no tables of Hufu's yet.
Result<int> schema_version(Database& database);

/// Success when the file has exactly the version this program works with; else `wrong_version` with the way out.
Result<void> check_schema(Database& database);

}  // namespace hufu::sqlite
