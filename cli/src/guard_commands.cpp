// hufu guard: the rows by which a database knows the messages that it has handled.
#include <algorithm>
#include <cstdio>
#include <optional>

#include <hufu/connect/consumer_memory.hpp>

#include "command.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr hours longest{24 * 365 * 10};

ConfigSchema purge_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", "the database: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.text("group", "", "the consumer group (or the HTTP edge's group) whose rows are deleted").required();
    schema.duration("window", hours{7 * 24}, {}, longest, "how long a message is remembered");
    schema.duration("retries", *idempotency::latest_duplicate({}), {}, longest,
                    "the waits of the consumer's retry schedule together; the default is that of the default schedule");
    schema.duration("replay", {}, {}, longest, "how far back somebody may redrive, rewind or replay");
    schema.duration("buffer", {}, {}, longest, "how long a message may lie in an outbox or a buffer");
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

std::chrono::seconds whole_seconds(const Config& config, std::string_view name) {
    return std::chrono::ceil<std::chrono::seconds>(config.duration(name));
}

/// Nothing, or what is wrong: a group that nobody has is a slip of the pen.
std::optional<Error> unknown_group(const std::string& url, const std::string& group) {
    const auto groups = connect::guard_groups(url);
    if (!groups) return groups.error();
    if (std::find(groups->begin(), groups->end(), group) != groups->end()) return std::nullopt;
    std::string known;
    for (const auto& one : *groups) known += (known.empty() ? "" : ", ") + one;
    return Error{ErrorCode::not_found, Disposition::reject,
                 "the database has no guard rows of group \"" + group + "\"; it has those of " +
                     (known.empty() ? "no group yet" : known)};
}

int purge(const Config& config) {
    const idempotency::GuardDeclaration declaration{
        .group = config.text("group"),
        .window = std::chrono::floor<std::chrono::seconds>(config.duration("window")),
        .duplicates = {.retry = RetrySchedule::ladder({config.milliseconds("retries")}),
                       .replay = whole_seconds(config, "replay"),
                       .buffer = whole_seconds(config, "buffer")}};
    if (const auto fine = idempotency::check_retention(declaration); !fine) return complain(fine.error());
    if (const auto unknown = unknown_group(config.text("outbox"), declaration.group)) return complain(*unknown);
    const auto purged = connect::purge_guards(config.text("outbox"), declaration);
    if (!purged) return complain(purged.error());
    const auto attempts = connect::purge_attempt_rows(config.text("outbox"), declaration.group, declaration.window);
    if (!attempts) return complain(attempts.error());
    if (config.boolean("json")) {
        print_json({{"group", declaration.group},
                    {"rows", purged->rows},
                    {"attempt_rows", *attempts},
                    {"horizon", time_text(purged->horizon)}});
    } else {
        std::printf(
            "%lu rows and %lu attempt rows of group %s deleted; messages stored before %s that have no row are rejected "
            "from "
            "now on\n",
            static_cast<unsigned long>(purged->rows), static_cast<unsigned long>(*attempts), declaration.group.c_str(),
            time_text(purged->horizon).c_str());
    }
    return exit_success;
}

}  // namespace

std::vector<Command> guard_commands() {
    return {{"guard", "purge", "delete the guard rows that no duplicate can ask for any more", purge_schema, purge}};
}

}  // namespace hufu::cli
