#include <cstdio>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>

#include <hufu/connect/connect.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/until_signal.hpp>
#include <hufu/outbox/receipt_intake.hpp>
#include <hufu/outbox/relay.hpp>

#include "command.hpp"

namespace hufu::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ConfigSchema relay_schema() {
    const outbox::RelayOptions defaults;
    ConfigSchema schema;
    schema.text("outbox", "", "where the rows are: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.text("to", "", "where they go: rocketmq://HOST:PORT, rocketmq+unix:PATH, embedded:DIR or kafka://HOST:PORT")
        .required();
    schema.text("owner", "", "name of this relay in the lease; default: made anew at each start");
    schema.duration("lease", defaults.lease, milliseconds{200}, seconds{3600}, "how long the lane is ours without renewal");
    schema.duration("poll_max", defaults.poll_max, milliseconds{1}, seconds{60}, "longest wait between looks for new rows");
    schema.integer("window_rows", static_cast<std::int64_t>(defaults.window_rows), 1, 10'000'000,
                   "most rows read and not yet settled");
    schema.integer("publish_rows", static_cast<std::int64_t>(defaults.publish_rows), 1, 100'000,
                   "most messages in one batch");
    schema.integer("attempts_max", 10, 1, 1'000'000, "failures of a message after which its key is parked");
    schema.duration("retry_first", milliseconds{100}, milliseconds{1}, seconds{3600},
                    "wait after the first failure, then doubled");
    schema.duration("retry_cap", seconds{30}, milliseconds{1}, seconds{86400}, "longest wait between attempts");
    schema.text("receipts_group", "",
                "consumer group that takes receipts of this outbox's messages off the broker; empty: none");
    schema.text("receipts_topic", outbox::Receipts{}.receipts_topic, "the topic they come on");
    schema.text("receipts_from", "", "the broker they come from; default: that of --to");
    schema.duration("receipts_keep", defaults.receipts.keep, milliseconds{0}, std::chrono::hours{24 * 3650},
                    "how long the stories of confirmed messages are kept; 0: for ever");
    schema.choice("log_level", {"debug", "info", "warning", "error"}, "info", "least level of log lines on standard error");
    schema.choice("log_format", {"text", "json"}, "text", "how log lines look");
    return schema;
}

outbox::RelayOptions options_of(const Config& config) {
    outbox::RelayOptions options;
    options.owner = config.text("owner");
    options.lease = config.milliseconds("lease");
    // The other two keep their share of the lease.
    const outbox::RelayOptions defaults;
    options.lease_margin = defaults.lease_margin * options.lease.count() / defaults.lease.count();
    options.renew_every = defaults.renew_every * options.lease.count() / defaults.lease.count();
    options.poll_max = config.milliseconds("poll_max");
    options.poll_min = std::min(options.poll_min, options.poll_max);
    options.window_rows = static_cast<std::size_t>(config.integer("window_rows"));
    options.publish_rows = static_cast<std::size_t>(config.integer("publish_rows"));
    options.retry = RetrySchedule::capped(config.milliseconds("retry_first"), config.milliseconds("retry_cap"),
                                          static_cast<std::uint32_t>(config.integer("attempts_max")))
                        .jitter(0.2);
    options.receipts.keep = config.milliseconds("receipts_keep");
    return options;
}

/// Receipts off the broker, on a thread of their own. Ends the relay where it cannot go on.
class Intake {
public:
    Result<void> open(const Config& config, outbox::Store& store, const connect::Surroundings& surroundings) {
        if (config.text("receipts_group").empty()) return {};
        const auto& from = config.text(config.text("receipts_from").empty() ? "to" : "receipts_from");
        auto opened = connect::subscription(
            from, {.group = config.text("receipts_group"), .topics = {config.text("receipts_topic")}}, surroundings);
        if (!opened) return opened.error();
        subscription_ = std::move(*opened);
        intake_ = std::make_unique<outbox::ReceiptIntake>(store, *subscription_, outbox::IntakeOptions{}, system_clock(),
                                                          system_random(), *surroundings.metrics, surroundings.log);
        return {};
    }
    void start(std::stop_source& everything) {
        if (!intake_) return;
        thread_ = std::jthread{[this, &everything] {
            ended_ = intake_->run(everything.get_token());
            everything.request_stop();
        }};
    }
    Result<void> finish() {
        if (thread_.joinable()) thread_.join();
        return ended_;
    }

private:
    std::unique_ptr<Subscription> subscription_;
    std::unique_ptr<outbox::ReceiptIntake> intake_;
    Result<void> ended_;
    std::jthread thread_;
};

/// What can be known to be wrong before serving. A database that is only away now is the relay's to wait for.
Result<void> check(outbox::Store& store, Log& log) {
    const auto status = store.status();
    if (status) {
        return {};
    }
    const auto disposition = status.error().disposition();
    if (disposition == Disposition::fatal || disposition == Disposition::reject) {
        return status.error();
    }
    log.warning("the database does not answer yet, waiting for it", {{"error", status.error().text()}});
    return {};
}

int run_relay(const Config& config) {
    StopOnSignal stop;
    MetricsRegistry metrics;
    const auto log = stderr_log("relay", *parse_log_level(config.text("log_level")),
                                config.text("log_format") == "json" ? LogFormat::json : LogFormat::text, system_clock());
    const connect::Surroundings surroundings{nullptr, nullptr, &metrics, log.get()};
    const auto store = connect::outbox(config.text("outbox"), surroundings);
    if (!store) {
        return complain(store.error());
    }
    if (const auto usable = check(**store, *log); !usable) {
        return complain(usable.error());
    }
    const auto lane_name = connect::lane_name(config.text("outbox"));
    if (!lane_name) {
        return complain(lane_name.error());
    }
    const auto publisher = connect::publisher(config.text("to"), surroundings);
    if (!publisher) {
        return complain(publisher.error());
    }
    outbox::Relay relay{**store, **publisher, options_of(config), system_clock(), system_random(), metrics};
    const auto hints = outbox::DatagramHintReceiver::open(*lane_name, relay);
    if (!hints) {
        log->warning("no wake-up hints, polling alone finds new rows", {{"error", hints.error().text()}});
    }
    std::stop_source everything;
    Intake intake;
    if (const auto opened = intake.open(config, **store, surroundings); !opened) {
        return complain(opened.error());
    }
    log->info("relay runs", {{"outbox", (*store)->describe()}, {"to", config.text("to")}});
    const std::stop_callback on_signal{stop.token(), [&] { everything.request_stop(); }};
    intake.start(everything);
    auto ended = relay.run(everything.get_token());
    everything.request_stop();
    if (const auto taken = intake.finish(); ended && !taken) {
        ended = taken;
    }
    if (!ended) {
        log->error("relay stopped by an error", {{"error", ended.error().text()}});
        return complain(ended.error());
    }
    log->info("relay drained and stopped");
    return exit_success;
}

}  // namespace

std::vector<Command> relay_commands() {
    return {{"relay", "", "carry committed messages from an outbox to a broker, until SIGTERM or SIGINT", relay_schema,
             run_relay}};
}

}  // namespace hufu::cli
