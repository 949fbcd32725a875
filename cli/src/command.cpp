#include "command.hpp"

#include <algorithm>
#include <cstdio>

#include "dlq_commands.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

std::string name_of(const Command& command) {
    std::string name = "hufu " + std::string{command.noun};
    if (!command.verb.empty()) {
        name += " " + std::string{command.verb};
    }
    return name;
}

ConfigSchema version_schema() {
    ConfigSchema schema;
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

int run_version(const Config& config) {
    if (config.boolean("json")) {
        print_json({{"version", HUFU_VERSION}});
    } else {
        std::printf("hufu %s\n", HUFU_VERSION);
    }
    return exit_success;
}

std::vector<Command> all_commands() {
    std::vector<Command> all = relay_commands();
    for (const auto& family :
         {forward_commands(), replay_commands(), outbox_commands(), receipt_commands(), tx_commands(), dlq_look_commands(),
          dlq_act_commands(), consumer_commands(), guard_commands(), doctor_commands()}) {
        all.insert(all.end(), family.begin(), family.end());
    }
    all.push_back({"version", "", "print the version", version_schema, run_version});
    return all;
}

void print_overview(std::FILE* to, std::string_view noun) {
    std::fputs("hufu: database changes and messages, exactly once in effect\n\n", to);
    for (const auto& command : all_commands()) {
        if (noun.empty() || command.noun == noun) {
            std::fprintf(to, "  %-24s %s\n", name_of(command).c_str(), std::string{command.summary}.c_str());
        }
    }
    if (noun.empty()) {
        std::fprintf(to, "  %-24s %s\n", "hufu broker", "run the bundled broker (hufu broker --help lists its flags)");
    }
    std::fputs(
        "\n\"--help\" after a command lists its flags. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a server stayed away "
        "(replay, dlq).\n",
        to);
}

void print_help(const Command& command) {
    std::printf("%s: %s\n\n", name_of(command).c_str(), std::string{command.summary}.c_str());
    std::fputs(command.schema().help().c_str(), stdout);
}

int usage(const std::string& sentence) {
    std::fprintf(stderr, "hufu: %s\n", sentence.c_str());
    return exit_usage;
}

int run_command(const Command& command, std::span<const std::string> flags) {
    ConfigSources sources;
    sources.flags.assign(flags.begin(), flags.end());
    const auto config = Config::load(command.schema(), sources);
    if (!config) {
        complain(config.error());
        return usage("\"" + name_of(command) + " --help\" lists its flags");
    }
    if (config->help_wanted()) {
        print_help(command);
        return exit_success;
    }
    return command.run(*config);
}

}  // namespace

int complain(const Error& error) {
    std::fprintf(stderr, "hufu: %s\n", error.text().c_str());
    return error.code() == ErrorCode::invalid_argument ? exit_usage : exit_failure;
}

int complain_of_server(const Error& error) {
    const int code = complain(error);
    const bool away = error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
    return away ? exit_unreachable : code;
}

int run(std::span<const std::string> words) {
    if (words.empty()) {
        print_overview(stderr, {});
        return exit_usage;
    }
    const auto& noun = words[0];
    if (noun == "--help" || noun == "-h" || noun == "help") {
        print_overview(stdout, {});
        return exit_success;
    }
    if (noun == "--version") {
        return run_command(all_commands().back(), {});
    }
    if (noun == "broker") {
        return run_broker(words.subspan(1));
    }
    const auto commands = all_commands();
    const auto is_noun = [&](const Command& command) { return command.noun == noun; };
    if (std::none_of(commands.begin(), commands.end(), is_noun)) {
        print_overview(stderr, {});
        return usage("\"" + noun + "\" is not a command; they are listed above");
    }
    const std::string verb = words.size() > 1 ? words[1] : "";
    for (const auto& command : commands) {
        if (is_noun(command) && command.verb.empty()) {
            return run_command(command, words.subspan(1));
        }
        if (is_noun(command) && command.verb == verb) {
            return run_command(command, words.subspan(2));
        }
    }
    const bool asks = verb == "--help" || verb == "-h" || verb == "help";
    print_overview(asks ? stdout : stderr, noun);
    if (asks) {
        return exit_success;
    }
    return usage(verb.empty() ? "\"hufu " + noun + "\" needs one of the verbs above"
                              : "\"" + verb + "\" is not a verb of \"hufu " + noun + "\"; they are listed above");
}

}  // namespace hufu::cli
