// hufu replay: empties a buffer into a broker.
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <thread>

#include <hufu/connect/connect.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/until_signal.hpp>
#include <hufu/degradation/replayer.hpp>

#include "command.hpp"
#include "moment.hpp"
#include "outcome_file.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using degradation::Buffer;
using degradation::ReplayEnd;
using degradation::ReplayFigures;
using degradation::ReplayOptions;
using degradation::ReplayReport;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Ended = ReplayReport::Ended;

ConfigSchema replay_schema() {
    ConfigSchema schema;
    schema.text("from", "", "the buffer: redis://HOST:PORT or journal:DIR").required();
    schema.text("to", "", "where it goes: rocketmq://HOST:PORT, rocketmq+unix:PATH, embedded:DIR or kafka://HOST:PORT")
        .required();
    schema.boolean("dry_run", false, "count what would go, touch nothing");
    schema.list("topic", "", "only these topics; may be given several times");
    schema.list("key", "", "only messages with one of these as ordering key or among their keys");
    schema.text("since", "", "only what was spilled then or later: 2026-01-02T03:04:05Z, or 2h (ago)");
    schema.text("until", "", "only what was spilled before");
    schema.integer("rate", 0, 0, 100'000'000, "most messages a second; 0: as fast as the broker takes them");
    schema.duration("warm_up", {}, {}, std::chrono::hours{1}, "the rate rises over this time, from a tenth of it");
    schema.integer("batch_messages", 1'000, 1, 20'000, "most messages in one batch");
    schema.text("outcomes", "", "append what became of each message to this file, a JSON object a line, synced");
    schema.boolean("once", false, "end when the buffer is empty (the default)");
    schema.boolean("follow", false, "go on until SIGTERM or SIGINT");
    schema.boolean("retry_parked", false, "first put back what was set aside");
    schema.boolean("give_up_damaged", false, "open a damaged journal; what cannot be read is counted and given up");
    schema.duration("patience", seconds{60}, milliseconds{100}, std::chrono::hours{24 * 7},
                    "how long to go without any progress before giving up (not with --follow)");
    schema.boolean("json", false, "one JSON object on standard output");
    schema.choice("log_level", {"debug", "info", "warning", "error"}, "warning",
                  "least level of log lines on standard error");
    return schema;
}

Result<ReplayOptions> options_of(const Config& config) {
    ReplayOptions options;
    options.filter.topics = config.list("topic");
    options.filter.keys = config.list("key");
    const SystemTime now = system_clock().system_now();
    for (const auto& [name, into] : {std::pair{"since", &options.filter.since}, std::pair{"until", &options.filter.until}}) {
        if (config.text(name).empty()) continue;
        const auto moment = parse_moment(config.text(name), now);
        if (!moment) return config.error(name, moment.error().text());
        *into = *moment;
    }
    options.per_second = static_cast<double>(config.integer("rate"));
    options.warm_up = config.milliseconds("warm_up");
    options.batch_messages = static_cast<std::size_t>(config.integer("batch_messages"));
    options.held_max = std::max(options.held_max, 4 * options.batch_messages);
    if (const auto fine = degradation::validate(options); !fine) return fine.error();
    if (config.boolean("once") && config.boolean("follow")) return config.error("follow", "goes not together with --once");
    return options;
}

int dry_run(const Config& config, Buffer& source, const ReplayOptions& options) {
    const auto found = degradation::preview(source, options.filter);
    if (!found) return complain_of_server(found.error());
    if (config.boolean("json")) {
        json::object topics;
        for (const auto& [topic, count] : found->topics) topics[topic] = count;
        print_json({{"dry_run", true},
                    {"from", source.describe()},
                    {"would_go", found->matching},
                    {"bytes", found->matching_bytes},
                    {"topics", std::move(topics)},
                    {"filtered", found->filtered},
                    {"behind_filtered", found->behind},
                    {"parked", found->parked}});
    } else {
        std::vector<std::vector<std::string>> table{{"would go", std::to_string(found->matching)}};
        for (const auto& [topic, count] : found->topics) table.push_back({"  to " + topic, std::to_string(count)});
        table.push_back({"bytes", std::to_string(found->matching_bytes)});
        table.push_back({"stay: filtered", std::to_string(found->filtered)});
        table.push_back({"stay: behind a filtered one of their key", std::to_string(found->behind)});
        table.push_back({"stay: set aside, or behind one", std::to_string(found->parked)});
        print_table(table);
    }
    const bool fits = found->matching > 0 || found->filtered + found->behind == 0;
    if (!fits) std::fprintf(stderr, "hufu: the filter matches nothing in %s\n", source.describe().c_str());
    return fits ? exit_success : exit_failure;
}

/// A line on a terminal that is written over and over.
class Progress {
public:
    Progress(const degradation::Replayer& replayer, std::uint64_t all) : replayer_{replayer}, all_{all} {
        if (::isatty(2) == 0) return;
        thread_ = std::jthread{[this](const std::stop_token& enough) {
            Clock& clock = system_clock();
            const SteadyTime begin = clock.steady_now();
            for (auto next = begin; !enough.stop_requested(); next += milliseconds{200}) {
                show(std::chrono::duration<double>{clock.steady_now() - begin}.count());
                clock.sleep_until(next, enough);
            }
            std::fputs("\r\033[K", stderr);
        }};
    }

private:
    void show(double passed) const {
        const ReplayFigures now = replayer_.figures();
        const std::uint64_t done = now.confirmed + now.parked + now.filtered + now.behind;
        const std::uint64_t all = std::max(all_, done);
        const double part = all == 0 ? 1 : static_cast<double>(done) / static_cast<double>(all);
        const double rate = passed > 0 ? static_cast<double>(now.confirmed) / passed : 0;
        std::string bar(static_cast<std::size_t>(part * 30), '#');
        bar.resize(30, '.');
        std::fprintf(stderr, "\r[%s] %3.0f %%  %" PRIu64 "/%" PRIu64 "  %.0f/s", bar.c_str(), part * 100, done, all, rate);
        if (rate > 0 && all > done) {
            const auto left = static_cast<std::int64_t>(static_cast<double>(all - done) / rate * 1'000);
            std::fprintf(stderr, "  %s left", duration_text(milliseconds{left}).c_str());
        }
        if (now.parked > 0) std::fprintf(stderr, "  %" PRIu64 " set aside", now.parked);
        std::fputs("\033[K", stderr);
    }

    const degradation::Replayer& replayer_;
    const std::uint64_t all_;
    std::jthread thread_;
};

void print_report(const Config& config, const Buffer& source, const ReplayReport& report, double took) {
    const ReplayFigures& figures = report.figures;
    const auto level = [&](std::uint64_t degradation::BufferSize::*part) {
        return report.left ? json::value((*report.left).*part) : json::value(nullptr);
    };
    if (config.boolean("json")) {
        print_json({{"from", source.describe()},
                    {"ended", degradation::to_string(report.ended)},
                    {"read", figures.read},
                    {"confirmed", figures.confirmed},
                    {"parked", figures.parked},
                    {"filtered", figures.filtered},
                    {"behind_filtered", figures.behind},
                    {"given_back", figures.given_back},
                    {"adds_up", figures.adds_up()},
                    {"retried", figures.retried},
                    {"trimmed", figures.trimmed},
                    {"taken_over", figures.taken_over},
                    {"bytes", figures.bytes},
                    {"seconds", took},
                    {"left", level(&degradation::BufferSize::entries)},
                    {"left_parked", level(&degradation::BufferSize::parked)},
                    {"last_error",
                     figures.last_error.text().empty() ? json::value(nullptr) : json::value(figures.last_error.text())}});
        return;
    }
    print_table({{"read", std::to_string(figures.read)},
                 {"confirmed by the broker", std::to_string(figures.confirmed)},
                 {"set aside (rejected, or behind one)", std::to_string(figures.parked)},
                 {"left: filtered", std::to_string(figures.filtered)},
                 {"left: behind a filtered one of their key", std::to_string(figures.behind)},
                 {"left: not dealt with", std::to_string(figures.given_back)},
                 {"count", figures.adds_up() ? "adds up" : "does NOT add up"},
                 {"published again", std::to_string(figures.retried)},
                 {"in the buffer now", report.left ? std::to_string(report.left->entries) + " and " +
                                                         std::to_string(report.left->parked) + " set aside"
                                                   : "unknown, it does not answer"}});
}

/// What the numbers mean for a shell, with a sentence where something is to be done.
int judge(const Config& config, const ReplayReport& report) {
    const ReplayFigures& figures = report.figures;
    const auto say = [](const std::string& text) { std::fprintf(stderr, "hufu: %s\n", text.c_str()); };
    const std::string why = figures.last_error.text().empty() ? "" : ": " + figures.last_error.text();
    switch (report.ended) {
        case Ended::target_away:
            say("the broker takes nothing" + why + "; what is not confirmed is in the buffer, run it again when it is back");
            return exit_unreachable;
        case Ended::source_away:
            say("the buffer gives nothing" + why + "; nothing is lost, run it again when it does");
            return exit_unreachable;
        case Ended::others_have:
            say("another replayer has what is left, or died a moment ago; look again, or run it again");
            return exit_failure;
        case Ended::stopped:
        case Ended::drained: break;
    }
    if (!figures.adds_up()) {
        say("the count does not add up, this is a bug: keep the outcome file and report it");
        return exit_failure;
    }
    if (figures.parked > 0 || (report.left && report.left->parked > 0)) {
        say("messages are set aside in the buffer" + why + "; mend the cause, then run it with --retry-parked");
        return exit_failure;
    }
    if (figures.confirmed == 0 && figures.filtered + figures.behind > 0) {
        say("the filter matches nothing: " + std::to_string(figures.filtered + figures.behind) + " entries were left");
        return exit_failure;
    }
    if (figures.behind > 0) {
        say("entries that match were left behind earlier ones of their key that do not; widen the filter");
        return exit_failure;
    }
    if (report.ended == Ended::stopped && !config.boolean("follow")) {
        say("stopped before the end; run it again to go on");
        return exit_failure;
    }
    return exit_success;
}

/// What there is to do; also finds out whether the buffer answers.
Result<degradation::BufferSize> look(const Config& config, Buffer& source) {
    if (config.boolean("retry_parked")) {
        if (const auto back = source.unpark(); !back) return back.error();
    }
    return source.size();
}

std::vector<json::object> lines_of(std::span<const degradation::ReplayRecord> records) {
    std::vector<json::object> lines;
    for (const auto& record : records) {
        json::object& line = lines.emplace_back();
        line = {{"id", record.id.to_string()},
                {"topic", bytes_json(record.topic)},
                {"ordering_key", bytes_json(record.ordering_key)},
                {"outcome", record.confirmed ? "confirmed" : "parked"}};
        line[record.confirmed ? "broker_id" : "why"] = bytes_json(record.detail);
    }
    return lines;
}

int replay(const Config& config, Buffer& source, const ReplayOptions& options, OutcomeFile& outcomes,
           const StopOnSignal& stop) {
    const auto log = stderr_log("replay", *parse_log_level(config.text("log_level")), LogFormat::text, system_clock());
    const auto target = connect::publisher(config.text("to"), {nullptr, nullptr, nullptr, log.get()});
    if (!target) return complain_of_server(target.error());
    const auto size = look(config, source);
    if (!size) return complain_of_server(size.error());
    const bool follow = config.boolean("follow");
    degradation::ReplayEnvironment environment{.log = *log};
    if (outcomes.wanted()) environment.keep = [&](auto records) { return outcomes.write(lines_of(records)); };
    const std::string name = "hufu-replay-" + std::to_string(::getpid());
    degradation::Replayer replayer{source, **target, options, name, environment};
    Result<ReplayReport> report = ReplayReport{};
    const SteadyTime begin = system_clock().steady_now();
    {
        const Progress progress{replayer, size->entries};
        report =
            replayer.run(stop.token(), follow ? ReplayEnd{.when_empty = false}
                                              : ReplayEnd{.when_empty = true, .patience = config.milliseconds("patience")});
    }
    if (!report) return complain_of_server(report.error());
    const double took = std::chrono::duration<double>{system_clock().steady_now() - begin}.count();
    print_report(config, source, *report, took);
    if (size->entries == 0 && report->figures.read == 0) {
        std::fprintf(stderr, "hufu: nothing to replay: %s holds no entry\n", source.describe().c_str());
    }
    return judge(config, *report);
}

int run_replay(const Config& config) {
    const StopOnSignal stop;
    const auto options = options_of(config);
    if (!options) return complain(options.error());
    const bool dry = config.boolean("dry_run");
    OutcomeFile outcomes{"what is not in it stays in the buffer: free the disk, run it again"};
    if (const auto opened = outcomes.open(dry ? "" : config.text("outcomes")); !opened) return complain(opened.error());
    const auto source =
        connect::buffer(config.text("from"), {}, {.create = false, .give_up_damaged = config.boolean("give_up_damaged")});
    if (!source) return complain_of_server(source.error());
    return dry ? dry_run(config, **source, *options) : replay(config, **source, *options, outcomes, stop);
}

}  // namespace

std::vector<Command> replay_commands() {
    return {{"replay", "", "empty a buffer into a broker after an outage, in order, with the original ids", replay_schema,
             run_replay}};
}

}  // namespace hufu::cli
