#include <algorithm>
#include <thread>

#include <hufu/connect/connect.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/until_signal.hpp>
#include <hufu/forward/forwarder.hpp>

#include "command.hpp"

namespace hufu::cli {
namespace {

using forward::ForwardOptions;
using std::chrono::milliseconds;
using std::chrono::seconds;

ConfigSchema forward_schema() {
    const ForwardOptions defaults;
    ConfigSchema schema;
    schema.text("from", "", "where they are: rocketmq://HOST:PORT, rocketmq+unix:PATH, embedded:DIR or kafka://HOST:PORT")
        .required();
    schema.list("topic", "", "topics to forward, under the same names; may be given several times").required();
    schema.text("group", "", "the consumer group; its forwarders share the work").required();
    schema.text("to", "", "where they go: kafka://HOST:PORT or any of the others").required();
    schema.choice("begin", {"first", "last"}, "first", "where a group without a position begins");
    schema.choice("rejected", {"park_key", "park_message", "hold"}, "park_key",
                  "what the target will never accept becomes a dead letter in %DLQ%GROUP of the source, with the later ones "
                  "of its key or alone; or it is held with them and tried for ever");
    schema.integer("batch_messages", static_cast<std::int64_t>(defaults.batch_messages), 1, 100'000,
                   "most messages in one batch");
    schema.integer("held_messages", static_cast<std::int64_t>(defaults.held_messages_max), 1, 10'000'000,
                   "most messages in memory");
    schema.duration("retry_first", milliseconds{100}, milliseconds{1}, seconds{3600},
                    "wait after the first failure, then doubled");
    schema.duration("retry_cap", seconds{30}, milliseconds{1}, seconds{86400}, "longest wait between attempts");
    schema.duration("progress", seconds{10}, milliseconds{0}, seconds{86400},
                    "how often a log line says how it goes; 0: never");
    schema.choice("log_level", {"debug", "info", "warning", "error"}, "info", "least level of log lines on standard error");
    schema.choice("log_format", {"text", "json"}, "text", "how log lines look");
    return schema;
}

ForwardOptions options_of(const Config& config) {
    ForwardOptions options;
    options.group = config.text("group");
    options.rejected = config.text("rejected") == "hold"           ? ForwardOptions::Rejected::hold
                       : config.text("rejected") == "park_message" ? ForwardOptions::Rejected::park_message
                                                                   : ForwardOptions::Rejected::park_key;
    options.batch_messages = static_cast<std::size_t>(config.integer("batch_messages"));
    options.held_messages_max = std::max(static_cast<std::size_t>(config.integer("held_messages")), options.batch_messages);
    options.retry = RetrySchedule::capped(config.milliseconds("retry_first"), config.milliseconds("retry_cap")).jitter(0.2);
    return options;
}

void tell(Log& log, std::string_view event, const forward::ForwardFigures& figures) {
    log.info(event, {{"received", figures.received},
                     {"forwarded", figures.forwarded},
                     {"retried", figures.retried},
                     {"dead", figures.dead},
                     {"held", figures.held},
                     {"keys_waiting", figures.keys_waiting}});
}

int run_forward(const Config& config) {
    StopOnSignal stop;
    MetricsRegistry metrics;
    const auto log = stderr_log("forward", *parse_log_level(config.text("log_level")),
                                config.text("log_format") == "json" ? LogFormat::json : LogFormat::text, system_clock());
    const connect::Surroundings surroundings{nullptr, nullptr, &metrics, log.get()};
    ForwardOptions options = options_of(config);
    if (const auto fine = forward::validate(options); !fine) {
        return complain(fine.error());
    }
    const auto target = connect::publisher(config.text("to"), surroundings);
    if (!target) {
        return complain(target.error());
    }
    const auto dead_letters = connect::publisher(config.text("from"), surroundings);
    if (!dead_letters) {
        return complain(dead_letters.error());
    }
    const auto source = connect::subscription(
        config.text("from"),
        {.group = options.group,
         .topics = config.list("topic"),
         .from = config.text("begin") == "last" ? SubscriptionOptions::From::last : SubscriptionOptions::From::first},
        surroundings);
    if (!source) {
        return complain(source.error());
    }
    forward::Forwarder forwarder{**source, **target, **dead_letters, std::move(options), {.log = *log, .metrics = &metrics}};
    log->info("forwarder runs", {{"group", config.text("group")}});
    std::jthread progress;
    if (const auto every = config.duration("progress"); every.count() > 0) {
        progress = std::jthread{[&, every](const std::stop_token& enough) {
            for (auto next = system_clock().steady_now() + every;; next += every) {
                system_clock().sleep_until(next, enough);
                if (enough.stop_requested()) {
                    return;
                }
                tell(*log, "forwarding", forwarder.figures());
            }
        }};
    }
    const auto ended = forwarder.run(stop.token());
    progress = {};
    if (!ended) {
        log->error("forwarder stopped by an error", {{"error", ended.error().text()}});
        return complain(ended.error());
    }
    tell(*log, "forwarder drained and stopped", forwarder.figures());
    return exit_success;
}

}  // namespace

std::vector<Command> forward_commands() {
    return {
        {"forward", "", "carry messages from one broker to another, until SIGTERM or SIGINT", forward_schema, run_forward}};
}

}  // namespace hufu::cli
