// hufu doctor: is the whole set-up well, and if not, what to do.
#include <algorithm>
#include <cstdio>

#include "command.hpp"
#include "doctor_look.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using std::chrono::hours;
using std::chrono::milliseconds;

ConfigSchema doctor_schema() {
    const Limits limits;
    ConfigSchema schema;
    schema.text("outbox", "", "the database with the outbox: postgresql://USER@HOST/DATABASE or sqlite:PATH");
    schema.text("verdicts", "", "the database that answers check-backs: as --outbox; needs --broker");
    schema.text("broker", "", "rocketmq://[KEY@]HOST:PORT, rocketmq+unix:PATH, embedded:DIR or kafka://HOST:PORT");
    schema.text("metrics", "", "the bundled broker's metrics: http://HOST:PORT/metrics");
    schema.text("redis", "", "redis://[USER:PASSWORD@]HOST[:PORT]");
    schema.list("buffer", "",
                "where messages wait while the broker is away: redis://HOST[:PORT][?buffer=NAME], journal:DIR");
    schema.duration("lag_max", limits.lag_max, {}, hours{24 * 30},
                    "a row that waits longer for the relay, or a message in a buffer, is a failure");
    schema.duration("transaction_max", limits.transaction_max, {}, hours{24 * 30},
                    "a database transaction open for longer is warned of");
    schema.duration("pending_max", limits.pending_max, {}, hours{24 * 30},
                    "a transaction message without a verdict for longer is warned of");
    schema.boolean("strict", false, "exit code 1 for warnings too");
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

int report(const Config& config, const Findings& findings) {
    const auto graded = [&](Grade grade) {
        return std::count_if(findings.begin(), findings.end(), [&](const Finding& each) { return each.grade == grade; });
    };
    const auto fails = graded(Grade::fail);
    const auto warnings = graded(Grade::warn);
    if (config.boolean("json")) {
        json::array checks;
        for (const auto& each : findings) {
            checks.push_back(
                json::object{{"grade", each.grade == Grade::fail ? "fail" : to_string(each.grade)},
                             {"subject", each.subject},
                             {"check", each.check},
                             {"text", bytes_json(each.text)},
                             {"way_out", each.way_out.empty() ? json::value(nullptr) : json::value(each.way_out)}});
        }
        print_json({{"well", fails == 0}, {"fails", fails}, {"warnings", warnings}, {"checks", std::move(checks)}});
    } else {
        std::vector<std::vector<std::string>> table;
        for (const auto& each : findings) {
            table.push_back({std::string{to_string(each.grade)}, each.subject, each.check, each.text});
            if (!each.way_out.empty()) table.push_back({"", "", "", "-> " + each.way_out});
        }
        print_table(table);
        std::printf("\n%s: %td failures, %td warnings\n",
                    fails > 0      ? "not well"
                    : warnings > 0 ? "well, with warnings"
                                   : "well",
                    fails, warnings);
    }
    return fails > 0 || (warnings > 0 && config.boolean("strict")) ? exit_failure : exit_success;
}

int run_doctor(const Config& config) {
    const auto& outbox = config.text("outbox");
    const auto& broker = config.text("broker");
    const auto& metrics = config.text("metrics");
    const auto& redis = config.text("redis");
    const auto& buffers = config.list("buffer");
    if (outbox.empty() && broker.empty() && metrics.empty() && redis.empty() && buffers.empty()) {
        return complain({ErrorCode::invalid_argument, Disposition::reject,
                         "say what to look at: --outbox, --broker, --metrics, --redis or --buffer, one or several"});
    }
    if (!config.text("verdicts").empty() && broker.empty()) {
        return complain(config.error("verdicts", "is compared with a broker's transactions: give --broker too"));
    }
    const Limits limits{.lag_max = config.milliseconds("lag_max"),
                        .transaction_max = config.milliseconds("transaction_max"),
                        .pending_max = config.milliseconds("pending_max")};
    Findings findings;
    const auto add = [&](Findings more) {
        for (auto& each : more) findings.push_back(std::move(each));
    };
    if (!outbox.empty()) add(look_at_outbox(outbox, limits));
    if (!broker.empty()) add(look_at_broker(broker, config.text("verdicts"), limits));
    if (!metrics.empty()) add(look_at_metrics(metrics));
    if (!redis.empty()) add(look_at_redis(redis));
    for (const auto& buffer : buffers) add(look_at_buffer(buffer, limits));
    return report(config, findings);
}

}  // namespace

std::vector<Command> doctor_commands() {
    return {{"doctor", "", "check database, relay, broker, Redis and buffers, with the way out of what is wrong",
             doctor_schema, run_doctor}};
}

}  // namespace hufu::cli
