#include "runbook_blocks.hpp"

#include <sstream>
#include <stdexcept>

namespace hufu::fault {
namespace {

constexpr std::string_view marker = "<!-- run: ";
constexpr std::string_view exit_word = "# exit code ";

RunbookCommand command_of(const std::string& line, std::size_t number, const std::string& state) {
    RunbookCommand command{.line = number, .state = state, .text = line};
    if (const auto comment = line.find(" # "); comment != std::string::npos) {
        const std::string said = line.substr(comment + 1);
        if (said.starts_with(exit_word)) command.exit_code = std::stoi(said.substr(exit_word.size()));
        command.runs_on = said.starts_with("# runs on");
        command.text = line.substr(0, line.find_last_not_of(' ', comment) + 1);
    }
    return command;
}

}  // namespace

std::vector<RunbookCommand> runbook_commands(std::string_view markdown) {
    std::vector<RunbookCommand> commands;
    std::istringstream lines{std::string{markdown}};
    std::string before;
    std::string state;
    bool inside = false;
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line); before = line) {
        ++number;
        if (inside) {
            if (line == "```") {
                inside = false;
            } else if (!line.empty()) {
                commands.push_back(command_of(line, number, state));
            }
        } else if (line == "```sh") {
            if (!before.starts_with(marker) || !before.ends_with(" -->")) {
                throw std::runtime_error{"line " + std::to_string(number) +
                                         ": a block of commands needs <!-- run: STATE --> above it"};
            }
            state = before.substr(marker.size(), before.size() - marker.size() - 4);
            inside = true;
        }
    }
    if (commands.empty()) throw std::runtime_error{"the runbook has no commands"};
    return commands;
}

}  // namespace hufu::fault
