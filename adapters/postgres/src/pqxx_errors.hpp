// What pqxx throws, as ours.
#pragma once

#include <exception>
#include <string_view>

#include <hufu/core/error.hpp>

#include "errors.hpp"

namespace hufu::postgres {

/// Call inside a catch block. Exceptions of others are thrown on.
[[nodiscard]] Error current_pqxx_error(Setting setting, std::string_view about);

}  // namespace hufu::postgres
