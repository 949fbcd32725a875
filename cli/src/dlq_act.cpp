// hufu dlq redrive, discard: settles dead letters, audited.
#include <unistd.h>

#include <cinttypes>
#include <cstdio>

#include <hufu/connect/connect.hpp>
#include <hufu/core/until_signal.hpp>

#include "actor.hpp"
#include "command.hpp"
#include "dlq_commands.hpp"
#include "dlq_place.hpp"
#include "outcome_file.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using deadletter::Act;
using deadletter::LetterOutcome;
using deadletter::RedriveFigures;

ConfigSchema act_schema() {
    ConfigSchema schema;
    add_broker(schema);
    add_place(schema);
    add_filter(schema);
    schema.text("reason", "", "why, for the audit").required();
    schema.text("actor", "", "who does this, for the audit; empty: the user of this process");
    schema.integer("limit", 0, 0, 1'000'000'000, "most letters to settle; 0: all that fit");
    schema.boolean("dry_run", false, "say what would become of each letter, settle nothing");
    schema.text("outcomes", "", "append what became of each letter to this file, a JSON object a line");
    schema.integer("batch", 500, 1, 5'000, "letters settled together; a job that is killed repeats at most so many");
    schema.duration("patience", std::chrono::seconds{60}, std::chrono::milliseconds{100}, std::chrono::hours{24},
                    "how long a broker that takes nothing is waited for");
    schema.duration("silence", std::chrono::seconds{10}, std::chrono::seconds{1}, std::chrono::hours{1},
                    "a job on these letters that was not heard of for so long is dead, and this one goes on without it");
    return schema;
}

ConfigSchema redrive_schema() {
    ConfigSchema schema = act_schema();
    schema.text("to_topic", "", "publish there instead of where each letter came from");
    schema.integer("rate", 0, 0, 10'000'000, "most letters a second; 0: as fast as the broker takes them");
    schema.integer("redrives_max", 3, 0, 1'000'000, "a letter that was redriven so often and came back is refused");
    schema.boolean("force", false, "redrive it even then");
    schema.boolean("out_of_order", false, "redrive letters although an earlier one of their key stays");
    return schema;
}

std::vector<json::object> lines_of(const std::vector<LetterOutcome>& outcomes) {
    std::vector<json::object> lines;
    for (const auto& outcome : outcomes) {
        json::object& line = lines.emplace_back();
        line = {{"id", outcome.id.to_string()},    {"queue", outcome.place.queue},
                {"offset", outcome.place.offset},  {"outcome", deadletter::to_string(outcome.what)},
                {"to", bytes_json(outcome.topic)}, {"ordering_key", bytes_json(outcome.ordering_key)}};
        if (!outcome.why.empty()) line["why"] = bytes_json(outcome.why);
    }
    return lines;
}

/// Counts, kept on one line of a terminal. Machines read the outcome file.
void show_progress(const RedriveFigures& figures) {
    if (::isatty(2) == 0) return;
    std::fprintf(stderr, "\r%" PRIu64 " read, %" PRIu64 " settled, %" PRIu64 " stay ", figures.read, figures.settled,
                 figures.stayed());
}

void report(const Config& config, Act act, const std::string& topic, const deadletter::Redriver& redriver,
            const Result<void>& result) {
    const RedriveFigures& figures = redriver.figures();
    const bool dry = config.boolean("dry_run");
    if (config.boolean("json")) {
        json::object object{{"topic", topic},
                            {"act", deadletter::to_string(act)},
                            {"dry_run", dry},
                            {"job", dry ? json::value(nullptr) : json::value(redriver.job())},
                            {"read", figures.read},
                            {"settled_before", figures.settled_before},
                            {"matched", figures.matched},
                            {"settled", figures.settled},
                            {"refused", figures.refused},
                            {"held", figures.held},
                            {"rejected", figures.rejected},
                            {"failed", figures.failed},
                            {"sent_again", figures.sent_again},
                            {"unrecorded", redriver.unrecorded()},
                            {"error", result ? json::value(nullptr) : json::value(result.error().text())}};
        print_json(object);
        return;
    }
    const std::string verb = std::string{dry ? "would be " : ""} + (act == Act::redrive ? "redriven" : "discarded");
    print_table({{verb, std::to_string(figures.settled)},
                 {"refused (came back too often, or from nowhere)", std::to_string(figures.refused)},
                 {"held (an earlier one of the key stays)", std::to_string(figures.held)},
                 {"rejected by the broker", std::to_string(figures.rejected)},
                 {"failed", std::to_string(figures.failed)},
                 {"settled before", std::to_string(figures.settled_before)},
                 {"read", std::to_string(figures.read)}});
}

/// What the numbers mean for a shell.
int judge(const Config& config, const RedriveFigures& figures) {
    if (figures.stayed() > 0) {
        std::fprintf(stderr, "hufu: %" PRIu64 " dead letters stay where they are; --outcomes FILE (or --dry-run) says why\n",
                     figures.stayed());
        return exit_failure;
    }
    if (figures.matched == 0 && figures.settled_before == 0) {
        std::fprintf(stderr, "hufu: no dead letter fits (%s); %" PRIu64 " were looked at\n", filter_text(config).c_str(),
                     figures.read);
        return exit_failure;
    }
    if (figures.matched == 0) {
        std::fprintf(stderr, "hufu: nothing is left to do: no open dead letter fits, %" PRIu64 " were settled before\n",
                     figures.settled_before);
    }
    return exit_success;
}

int act(const Config& config, deadletter::RedriveOptions options, double rate) {
    if (config.text("reason").empty()) return complain(config.error("reason", "must not be empty, the audit keeps it"));
    const auto topic = dead_letter_topic_of(config);
    if (!topic) return complain(topic.error());
    auto filter = filter_of(config);
    if (!filter) return complain(filter.error());
    options.filter = std::move(*filter);
    options.limit = static_cast<std::uint64_t>(config.integer("limit"));
    options.dry_run = config.boolean("dry_run");
    const Act which = options.act;

    StopOnSignal stop;
    OutcomeFile file{"what is settled is in the audit, and the same command goes on where this one ended"};
    if (const auto opened = file.open(config.text("outcomes")); !opened) return complain(opened.error());
    const auto reader = connect::topic_reader(config.text("broker"));
    if (!reader) return complain_of_server(reader.error());
    // Before anything is written: a job about a topic that is not there would be nothing but a line in the audit.
    if (const auto there = (*reader)->ranges(*topic); !there) {
        return complain_of_server(with_way_out(there.error(), *topic, **reader));
    }
    const auto publisher = connect::publisher(config.text("broker"));
    if (!publisher) return complain_of_server(publisher.error());

    deadletter::Redriver redriver{*topic,
                                  std::move(options),
                                  {actor_of(config), config.text("reason"), filter_text(config)},
                                  {.per_second = rate,
                                   .batch = static_cast<std::size_t>(config.integer("batch")),
                                   .patience = config.milliseconds("patience"),
                                   .silence = config.milliseconds("silence")},
                                  {.reader = **reader, .publisher = **publisher}};
    const auto result = redriver.run(
        [&](const std::vector<LetterOutcome>& outcomes, const RedriveFigures& figures) {
            show_progress(figures);
            return file.write(lines_of(outcomes));
        },
        stop.token());
    if (::isatty(2) != 0) std::fputs("\n", stderr);
    report(config, which, *topic, redriver, result);
    if (!result) {
        const int code = complain_of_server(result.error());
        return code == exit_usage ? exit_failure : code;  // something was tried
    }
    return judge(config, redriver.figures());
}

int redrive(const Config& config) {
    deadletter::RedriveOptions options;
    options.act = Act::redrive;
    options.to_topic = config.text("to_topic");
    if (!options.to_topic.empty()) {
        if (const auto valid = validate(Message{.topic = options.to_topic}); !valid) {
            return complain(config.error("to_topic", valid.error().text()));
        }
    }
    options.redrives_max = static_cast<std::uint32_t>(config.integer("redrives_max"));
    options.force = config.boolean("force");
    options.out_of_order = config.boolean("out_of_order");
    return act(config, std::move(options), static_cast<double>(config.integer("rate")));
}

int discard(const Config& config) {
    deadletter::RedriveOptions options;
    options.act = Act::discard;
    return act(config, std::move(options), 0);
}

}  // namespace

std::vector<Command> dlq_act_commands() {
    return {
        {"dlq", "redrive", "send dead letters to their topic again, in order, audited", redrive_schema, redrive},
        {"dlq", "discard", "close dead letters without sending them, audited", act_schema, discard},
    };
}

}  // namespace hufu::cli
