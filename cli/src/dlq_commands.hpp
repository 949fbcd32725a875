// The two halves of `hufu dlq`.
#pragma once

#include <vector>

#include "command.hpp"

namespace hufu::cli {

[[nodiscard]] std::vector<Command> dlq_look_commands();
[[nodiscard]] std::vector<Command> dlq_act_commands();

}  // namespace hufu::cli
