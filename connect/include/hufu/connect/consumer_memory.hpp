// What a consumer group remembers in its guards' database, for operators: parked keys and attempt rows, by the database's address.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer_ports.hpp>

namespace hufu::connect {

/// The parked keys of a group, by topic and key.
[[nodiscard]] Result<std::vector<ParkedKey>> parked_keys(const std::string& url, const std::string& group,
                                                         const Surroundings& surroundings = {});

/// See `postgres::reopen_parked_key`, `sqlite::reopen_parked_key`.
[[nodiscard]] Result<void> reopen_parked_key(const std::string& url, const std::string& group, const ConsumerKey& key,
                                             const outbox::AuditNote& note, const Surroundings& surroundings = {});

/// See `postgres::purge_attempt_rows`, `sqlite::purge_attempt_rows`.
[[nodiscard]] Result<std::uint64_t> purge_attempt_rows(const std::string& url, const std::string& group,
                                                       std::chrono::seconds age, const Surroundings& surroundings = {});

}  // namespace hufu::connect
