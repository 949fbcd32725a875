// The commands: what each is called, takes and does.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/config.hpp>
#include <hufu/core/error.hpp>

namespace hufu::cli {

// What a shell sees.
inline constexpr int exit_success = 0;
inline constexpr int exit_failure = 1;      ///< the operation failed or a promise did not hold
inline constexpr int exit_usage = 2;        ///< wrong words, flags or values; nothing was tried
inline constexpr int exit_unreachable = 3;  ///< a server stayed away; nothing is lost, the same command goes on later

struct Command {
    std::string_view noun;
    std::string_view verb;     ///< empty: the noun alone
    std::string_view summary;  ///< one line
    ConfigSchema (*schema)();
    int (*run)(const Config& config);
};

/// Those that `hufu` alone lists, in that order.
[[nodiscard]] std::vector<Command> relay_commands();
[[nodiscard]] std::vector<Command> forward_commands();
[[nodiscard]] std::vector<Command> outbox_commands();
[[nodiscard]] std::vector<Command> receipt_commands();
[[nodiscard]] std::vector<Command> tx_commands();
[[nodiscard]] std::vector<Command> consumer_commands();
[[nodiscard]] std::vector<Command> guard_commands();
[[nodiscard]] std::vector<Command> doctor_commands();
[[nodiscard]] std::vector<Command> replay_commands();

/// Finds the command that `words` name, reads its flags and runs it.
int run(std::span<const std::string> words);

/// Executes `hufu-broker`, which stands beside this program, with `arguments`. Returns only if that fails.
int run_broker(std::span<const std::string> arguments);

/// One line on standard error; returns the exit code that fits the error.
int complain(const Error& error);
/// The same for what a server answered, or did not: one that stayed away (`unavailable`, `timeout`) is exit_unreachable.
int complain_of_server(const Error& error);

}  // namespace hufu::cli
