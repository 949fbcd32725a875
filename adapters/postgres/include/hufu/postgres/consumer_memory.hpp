// What a consumer group remembers, in the guard's database: parked keys and handlers that were started.
#pragma once

#include <memory>
#include <string>

#include <hufu/core/consumer_ports.hpp>
#include <hufu/postgres/once.hpp>

namespace hufu::postgres {

/// The parked keys of `group`, in `hufu.consumer_parked`. `pool` outlives it.
[[nodiscard]] std::unique_ptr<ParkedKeys> parked_keys(ConnectionPool& pool, std::string group);
/// The attempt rows of `group`, in `hufu.consumer_attempt`. `pool` outlives it.
[[nodiscard]] std::unique_ptr<AttemptRows> attempt_rows(ConnectionPool& pool, std::string group);

}  // namespace hufu::postgres
