// What the server reports, as Hufu's errors: the one table.
#pragma once

#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::redis {

/// `text` is the server's ("OOM command not allowed …"), `server` names it.
[[nodiscard]] Error server_error(std::string_view text, std::string_view server);

}  // namespace hufu::redis
