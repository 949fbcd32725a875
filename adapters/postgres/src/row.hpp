// A message as columns of the lane's tables.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/postgres/connection.hpp>

namespace hufu::postgres {

/// In this order, everywhere.
inline constexpr const char* message_columns = "message_id, topic, tag, keys, ordering_key, headers, body";

[[nodiscard]] std::string packed_headers(const Headers& headers);
[[nodiscard]] Result<Headers> unpacked_headers(std::string_view bytes);
[[nodiscard]] std::string joined_keys(std::span<const std::string> keys);
/// Bytes as a bytea literal, which every pqxx version passes as text.
[[nodiscard]] std::string hex(std::string_view bytes);

/// Throws Exception unless core and PostgreSQL's text type can take the message: no zero byte outside body and headers.
void check(const Message& message);

/// Reads seq, created_at and `message_columns` from `column` on.
[[nodiscard]] Result<outbox::Row> row_from(const Rows& rows, std::size_t row, std::size_t column);

}  // namespace hufu::postgres
