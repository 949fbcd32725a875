// Who types this, for audits.
#pragma once

#include <string>

#include <hufu/core/config.hpp>

namespace hufu::cli {

/// `--actor`, or the user of this process.
[[nodiscard]] std::string actor_of(const Config& config);

}  // namespace hufu::cli
