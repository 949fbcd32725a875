// The one table from PostgreSQL's SQLSTATE to what a caller may do.
#pragma once

#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::postgres {

/// Where a statement stood when it failed.
enum class Setting : unsigned char {
    connecting,       ///< no session yet
    own_transaction,  ///< the statement was its own transaction: nothing of it remains
    in_transaction,   ///< inside a transaction block that is lost now
    committing,       ///< the flight contained COMMIT
};

/// `sqlstate` empty: the connection broke without an answer. `about` names what was asked ("append to the outbox").
[[nodiscard]] Error error_from(std::string_view sqlstate, std::string_view message, Setting setting, std::string_view about);

}  // namespace hufu::postgres
