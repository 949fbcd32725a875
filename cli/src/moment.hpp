// Points in time, as people write them.
#pragma once

#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu::cli {

/// "2026-01-02T03:04:05Z" (with or without fractions and the time of day), or a duration ago: "2h".
[[nodiscard]] Result<SystemTime> parse_moment(const std::string& text, SystemTime now);

}  // namespace hufu::cli
