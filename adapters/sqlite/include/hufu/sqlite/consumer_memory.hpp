// What a consumer group remembers, in the guard's database: parked keys and handlers that were started.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <hufu/core/consumer_ports.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// The parked keys of `group`, in `hufu_consumer_parked`. `database` outlives it.
[[nodiscard]] std::unique_ptr<ParkedKeys> parked_keys(Database& database, std::string group);
/// The attempt rows of `group`, in `hufu_consumer_attempt`. `database` outlives it.
[[nodiscard]] std::unique_ptr<AttemptRows> attempt_rows(Database& database, std::string group);

/// What a person does with a parked key: lets it through again, and writes the audit of the outbox (action `reopen GROUP`), in one
/// transaction. Running members learn of it within `ConsumerOptions::parked_keys_every`. `not_found`: it is not parked.
[[nodiscard]] Result<void> reopen_parked_key(Database& database, const std::string& group, const ConsumerKey& key,
                                             const outbox::AuditNote& note);
/// Deletes the group's attempt rows of handlers that were started longer than `age` ago (by the database's clock), and returns how
/// many: rows of messages that never came again. `age` must be longer than any retry, replay or buffer may take.
[[nodiscard]] Result<std::uint64_t> purge_attempt_rows(Database& database, const std::string& group,
                                                       std::chrono::seconds age);

}  // namespace hufu::sqlite
