// The ladder of delay levels: what DELAY=1, DELAY=2, … mean.
#pragma once

#include <chrono>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::broker {

/// Level k waits for element k - 1.
using DelayLevels = std::vector<std::chrono::milliseconds>;

/// RocketMQ's 18 levels, 1 s to 2 h.
[[nodiscard]] DelayLevels default_delay_levels();

/// Reads "1s 5s 10s 30s 1m …": numbers with the unit ms, s, m, h or d, separated by spaces; 1 to 100 of them, each above
/// zero and at most a year. `invalid_argument` names the one that is wrong.
[[nodiscard]] Result<DelayLevels> parse_delay_levels(std::string_view text);

}  // namespace hufu::broker
