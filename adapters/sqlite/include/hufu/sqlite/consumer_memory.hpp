// What a consumer group remembers, in the guard's database: parked keys and handlers that were started.
#pragma once

#include <memory>
#include <string>

#include <hufu/core/consumer_ports.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// The parked keys of `group`, in `hufu_consumer_parked`. `database` outlives it.
[[nodiscard]] std::unique_ptr<ParkedKeys> parked_keys(Database& database, std::string group);
/// The attempt rows of `group`, in `hufu_consumer_attempt`. `database` outlives it.
[[nodiscard]] std::unique_ptr<AttemptRows> attempt_rows(Database& database, std::string group);

}  // namespace hufu::sqlite
