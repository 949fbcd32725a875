// The command line of hufu-broker.
#pragma once

#include <optional>
#include <span>
#include <string>

#include <hufu/broker/server.hpp>
#include <hufu/core/log.hpp>

namespace hufu::broker {

struct ProgramOptions {
    ServerOptions server;
    std::optional<int> ready_fd;  ///< gets the line "tcp-address\n" once the broker accepts
    LogLevel log_level = LogLevel::info;
    LogFormat log_format = LogFormat::text;
    bool help = false;
};

/// `invalid_argument` names the flag, the value and what would be right.
[[nodiscard]] Result<ProgramOptions> parse_program_options(std::span<const char* const> arguments);
[[nodiscard]] const char* program_help() noexcept;

}  // namespace hufu::broker
