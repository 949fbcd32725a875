// The commands of docs/runbook.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hufu::fault {

struct RunbookCommand {
    std::size_t line = 0;    ///< in the file, from 1
    std::string state = {};  ///< of the set-up it is typed in: "well", "broker-down" …
    std::string text = {};   ///< without the comment
    int exit_code = 0;       ///< "# exit code 1" says another
    bool runs_on = false;    ///< "# runs on": until it is told to stop
};

/// A ```sh block stands under <!-- run: STATE -->; throws std::runtime_error for one that does not, or an empty page.
[[nodiscard]] std::vector<RunbookCommand> runbook_commands(std::string_view markdown);

}  // namespace hufu::fault
