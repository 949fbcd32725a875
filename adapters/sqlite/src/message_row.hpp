// A message as columns. The same eight in every table that holds messages, always in this order.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/message.hpp>
#include <hufu/sqlite/statement.hpp>

namespace hufu::sqlite {

#define HUFU_MESSAGE_COLUMNS "id, created_at_us, topic, tag, keys, ordering_key, headers, body"
#define HUFU_MESSAGE_PARAMETERS "?, ?, ?, ?, ?, ?, ?, ?"
inline constexpr int message_columns = 8;

/// Keys hold no spaces (`validate`), so a space joins them.
[[nodiscard]] std::string joined_keys(const std::vector<std::string>& keys);
/// Length-prefixed names and values: 32-bit little-endian length, bytes, in turn.
[[nodiscard]] std::string packed_headers(const Headers& headers);

[[nodiscard]] std::int64_t microseconds_of(SystemTime time) noexcept;
[[nodiscard]] SystemTime time_of(std::int64_t microseconds) noexcept;

/// Reads the eight columns from `first` on; throws `corrupt` where they are not what we wrote.
[[nodiscard]] Message message_at(const Statement& row, int first);
[[nodiscard]] MessageId id_at(const Statement& row, int column);

}  // namespace hufu::sqlite
