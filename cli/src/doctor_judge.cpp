#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "doctor_facts.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string percent(double part) { return std::to_string(static_cast<int>(part * 100 + 0.5)) + " %"; }

/// Builds the findings of one subject.
class Report {
public:
    explicit Report(std::string subject) : subject_{std::move(subject)} {}
    void add(bool fine, Grade otherwise, std::string check, std::string text, std::string way_out) {
        findings_.push_back({fine ? Grade::ok : otherwise, subject_, std::move(check), std::move(text),
                             fine ? std::string{} : std::move(way_out)});
    }
    [[nodiscard]] Findings take() { return std::move(findings_); }

private:
    std::string subject_;
    Findings findings_;
};

}  // namespace

std::string_view to_string(Grade grade) noexcept {
    constexpr std::string_view names[] = {"ok", "warn", "FAIL"};
    return names[static_cast<std::size_t>(grade)];
}

Findings judge(const outbox::Status& status, const Limits& limits) {
    Report report{"relay"};
    const bool owned = status.owner && status.owner->lease_left.count() > 0;
    std::string owner = "never owned";
    if (status.owner) {
        owner = status.owner->owner + ", epoch " + std::to_string(status.owner->epoch) +
                (owned ? ", lease runs for " + duration_text(status.owner->lease_left)
                       : ", lease ended " + duration_text(-status.owner->lease_left) + " ago");
    }
    // Nobody misses a relay that has nothing to do; somebody does when rows wait.
    report.add(
        owned, status.pending > 0 ? Grade::fail : Grade::warn, "owner", owner,
        "no relay runs: start \"hufu relay --outbox URL --to BROKER\", or the service that runs it, and read its log");
    const auto age = status.oldest_age.value_or(milliseconds{0});
    report.add(age <= limits.lag_max, Grade::fail, "lag",
               std::to_string(status.pending) + " rows wait" +
                   (status.oldest_age ? ", the oldest for " + duration_text(age) : std::string{}),
               owned ? "the relay is there and does not get on: read its log, and see the broker's lines below"
                     : "rows wait for a relay, see above");
    report.add(status.parked_rows == 0, Grade::warn, "parked rows",
               std::to_string(status.parked_rows) + " rows of " + std::to_string(status.parked_keys) + " keys",
               "\"hufu outbox list\" says why; then \"hufu outbox release\" or \"hufu outbox discard\"");
    return report.take();
}

Findings judge(const postgres::Health& health, const Limits& limits) {
    Report report{"database"};
    report.add(true, Grade::fail, "reachable", health.peer + ", PostgreSQL " + health.server_version, {});
    report.add(!health.standby, Grade::fail, "primary", health.standby ? "it is a standby" : "yes",
               "point the URL at the primary; after a failover that is another host");
    std::string version =
        std::to_string(health.schema_version) + ", this program knows " + std::to_string(health.schema_wanted);
    if (health.schema_version == 0) version = "there is no schema \"hufu\"";
    report.add(health.schema_version == health.schema_wanted, Grade::fail, "schema version", version,
               health.schema_version < health.schema_wanted
                   ? "\"hufu outbox migrate --outbox URL\"; with --print it shows the script"
                   : "the database is newer: update this program");
    const bool synchronous = health.synchronous_commit != "off";
    const bool durable = synchronous && health.fsync && health.full_page_writes;
    report.add(durable, Grade::fail, "durability",
               "synchronous_commit=" + health.synchronous_commit + " fsync=" + (health.fsync ? "on" : "off") +
                   " full_page_writes=" + (health.full_page_writes ? "on" : "off"),
               "a power cut takes committed orders with it: set all three to on in postgresql.conf");
    const auto age = health.oldest_transaction ? health.oldest_transaction->age : milliseconds{0};
    std::string open = "none is open";
    if (health.oldest_transaction) {
        open = "the oldest runs for " + duration_text(age) + ": pid " + std::to_string(health.oldest_transaction->pid) +
               " (" + health.oldest_transaction->application + "), " + health.oldest_transaction->state;
    }
    report.add(age <= limits.transaction_max, Grade::warn, "long transactions", open,
               "it keeps deleted rows from being removed and check-backs waiting: end it, if need be by "
               "pg_terminate_backend(pid)");
    constexpr std::int64_t snapshot_max = 10'000'000;
    report.add(health.oldest_snapshot_age <= snapshot_max, Grade::warn, "oldest snapshot",
               std::to_string(health.oldest_snapshot_age) + " transactions ago" +
                   (health.oldest_snapshot_holder.empty() ? "" : ", held by " + health.oldest_snapshot_holder),
               "nothing deleted since then can be removed: end the session, the prepared transaction or the slot");
    const bool crowded = health.connections_max > 0 && health.connections * 10 > health.connections_max * 9;
    report.add(!crowded, Grade::warn, "connections",
               std::to_string(health.connections) + " of " + std::to_string(health.connections_max),
               "raise max_connections, or put a pooler in front of the services (not of the relay)");
    return report.take();
}

Findings judge(const std::vector<rocketmq::BrokerHealth>& brokers, const Limits& limits) {
    Report report{"broker"};
    for (const auto& broker : brokers) {
        const std::string name = broker.name + " at " + broker.address;
        if (broker.version.empty()) {
            report.add(false, Grade::fail, "reachable", name + ": " + broker.error.text(),
                       "start it, or see why it does not answer: its log is in its data folder or with its service");
            continue;
        }
        report.add(true, Grade::fail, "reachable", name + ", " + broker.version, {});
        report.add(broker.taking, Grade::fail, "takes messages", broker.taking ? "yes" : "no, it refuses them",
                   "after a failed write or sync, or on a full disk, it takes nothing: its log says which; free space, then "
                   "restart it");
        if (broker.disk_used) {
            report.add(*broker.disk_used <= limits.disk_used_max, *broker.disk_used > 0.95 ? Grade::fail : Grade::warn,
                       "disk", percent(*broker.disk_used) + " used",
                       "lower the retention, or give it a larger disk, before it refuses messages");
        }
    }
    return report.take();
}

Findings judge(const std::vector<DeadLetterDepth>& depths) {
    Report report{"broker"};
    std::uint64_t open = 0;
    std::string text;
    for (const auto& depth : depths) {
        open += depth.open;
        if (depth.open > 0) text += (text.empty() ? "" : ", ") + std::to_string(depth.open) + " in " + depth.topic;
    }
    report.add(open == 0, Grade::warn, "dead letters", open == 0 ? "none are open" : text,
               "\"hufu dlq list --group GROUP\" says why; then \"hufu dlq redrive\" or \"hufu dlq discard\"");
    return report.take();
}

Findings judge(const OpenTransactions& transactions, const Limits& limits) {
    Report report{"broker"};
    const std::string more = transactions.more ? " (or more)" : "";
    report.add(transactions.parked == 0, Grade::warn, "parked transactions", std::to_string(transactions.parked) + more,
               "\"hufu tx list --state parked\" says why; then \"hufu tx resume\", or commit or rollback by hand");
    report.add(transactions.conflicts == 0, Grade::fail, "transactions in conflict",
               std::to_string(transactions.conflicts) + more,
               "rolled back before their commit came: \"hufu tx list --state conflict\", then compare with the database");
    report.add(transactions.overdue == 0, Grade::warn, "transactions without a verdict",
               std::to_string(transactions.overdue) + more + " for longer than " + duration_text(limits.pending_max),
               "no process of their group answers check-backs: start the service, or \"hufu tx list\" and decide by hand");
    if (transactions.own_store.empty()) return report.take();
    std::uint64_t foreign = 0;
    std::string names;
    for (const auto& [store, count] : transactions.stores) {
        if (store.empty() || store == transactions.own_store) continue;
        foreign += count;
        names += (names.empty() ? "" : ", ") + store;
    }
    Report verdicts{"verdicts"};
    verdicts.add(foreign == 0, Grade::warn, "store matches",
                 foreign == 0 ? "every open transaction that names a store names this one (" + transactions.own_store + ")"
                              : std::to_string(foreign) + " open transactions name other stores: " + names,
                 "this database (" + transactions.own_store +
                     ") must not answer for them: give the URL of theirs, or run their own service");
    Findings findings = report.take();
    for (auto& finding : verdicts.take()) findings.push_back(std::move(finding));
    return findings;
}

std::map<std::string, double> parse_metrics(const std::string& text) {
    std::map<std::string, double> metrics;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const auto end = std::min(text.find('\n', begin), text.size());
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        const auto space = line.rfind(' ');
        if (line.empty() || line.front() == '#' || space == std::string::npos) continue;
        metrics[line.substr(0, space)] = std::strtod(line.c_str() + space + 1, nullptr);
    }
    return metrics;
}

Findings judge_metrics(const std::map<std::string, double>& metrics) {
    Report report{"metrics"};
    const auto value = [&](const std::string& name) {
        const auto found = metrics.find(name);
        return found == metrics.end() ? 0.0 : found->second;
    };
    const auto count = [&](const std::string& name) { return std::to_string(static_cast<std::int64_t>(value(name))); };
    if (!metrics.contains("hufu_broker_log_refusing")) {
        report.add(false, Grade::warn, "are a broker's", "there is no hufu_broker_log_refusing among them",
                   "give the metrics address of hufu-broker (its flag --metrics-listen)");
        return report.take();
    }
    report.add(value("hufu_broker_log_refusing") == 0, Grade::fail, "log",
               value("hufu_broker_log_refusing") == 0 ? "takes records" : "refuses records",
               "after a failed sync, or on a full disk: free space, then restart the broker");
    report.add(value("hufu_broker_log_damages") == 0, Grade::fail, "damage",
               count("hufu_broker_log_damages") + " damaged parts",
               "they are not served: the broker's log names them; restore their files, or accept their loss");
    report.add(value("hufu_broker_retention_threatened_bytes") == 0, Grade::warn, "retention",
               count("hufu_broker_retention_threatened_bytes") + " bytes will be deleted soon that somebody has not read",
               "the broker's log names group and topic: let them catch up, or raise the retention");
    report.add(value("hufu_broker_alarms_total") == 0, Grade::warn, "alarms",
               count("hufu_broker_alarms_total") + " since the broker started",
               "each is a line of the broker's log: read them");
    return report.take();
}

std::map<std::string, std::string> parse_info(const std::string& text) {
    std::map<std::string, std::string> info;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const auto end = std::min(text.find('\n', begin), text.size());
        std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (const auto colon = line.find(':'); colon != std::string::npos && line.front() != '#') {
            info[line.substr(0, colon)] = line.substr(colon + 1);
        }
    }
    return info;
}

Findings judge(const RedisFacts& facts) {
    Report report{"redis"};
    const auto look = [](const std::map<std::string, std::string>& values, const std::string& name) {
        const auto found = values.find(name);
        return found == values.end() ? std::string{} : found->second;
    };
    const auto info = [&](const std::string& name) { return look(facts.info, name); };
    report.add(true, Grade::fail, "reachable", "version " + info("redis_version"), {});
    report.add(info("role") != "slave", Grade::fail, "primary", "role " + info("role"),
               "nothing can be written to a replica: point the URL at the primary; after a failover that is another host");
    if (facts.settings.empty()) {
        report.add(
            false, Grade::warn, "settings", "CONFIG is not allowed here",
            "ask its operator for appendonly, appendfsync and maxmemory-policy: what a buffer may lose follows from them");
    } else {
        const bool aof = look(facts.settings, "appendonly") == "yes";
        const std::string fsync = look(facts.settings, "appendfsync");
        report.add(aof && fsync == "always", Grade::warn, "persistence",
                   aof ? "appendonly yes, appendfsync " + fsync : "appendonly no",
                   aof ? "a crash loses up to a second (" + fsync + "): appendfsync always for topics that tolerate no loss"
                       : "a crash loses everything that was buffered: appendonly yes");
        const std::string policy = look(facts.settings, "maxmemory-policy");
        report.add(policy == "noeviction", Grade::fail, "eviction", "maxmemory-policy " + policy,
                   "Redis may throw buffered messages and guards away when memory gets short: maxmemory-policy noeviction");
    }
    const double used = std::strtod(info("used_memory").c_str(), nullptr);
    const double most = std::strtod(info("maxmemory").c_str(), nullptr);
    report.add(most == 0 || used < 0.85 * most, used >= 0.98 * most ? Grade::fail : Grade::warn, "memory",
               info("used_memory_human") + (most == 0 ? " used, no limit" : " of " + info("maxmemory_human")),
               "raise maxmemory, or drain the buffer (\"hufu replay\")");
    if (info("aof_enabled") == "1") {
        report.add(info("aof_last_write_status") == "ok", Grade::fail, "last write of the append-only file",
                   info("aof_last_write_status"), "its disk is full or failing: Redis refuses writes until it is not");
    }
    return report.take();
}

Findings judge(const BufferFacts& facts, const Limits& limits) {
    Report report{"buffer"};
    using degradation::Loss;
    report.add(facts.statement.loss == Loss::nothing, Grade::warn, "may lose",
               std::string{to_string(facts.statement.loss)} + ": " + facts.statement.why,
               "topics that tolerate less pass it over; change its settings if they should not");
    const auto age = facts.size.oldest_age.value_or(milliseconds{0});
    report.add(
        facts.size.entries == 0, age > limits.lag_max ? Grade::fail : Grade::warn, "waiting",
        std::to_string(facts.size.entries) + " messages, " + std::to_string(facts.size.bytes) + " bytes" +
            (facts.size.oldest_age ? ", the oldest for " + duration_text(age) : std::string{}),
        "the broker is away, or nobody drains it: a service that runs does it by itself once the broker is there; else "
        "\"hufu replay --from " +
            facts.url + " --to BROKER\"");
    report.add(
        facts.size.parked == 0, Grade::warn, "parked", std::to_string(facts.size.parked) + " messages",
        "a broker rejected them, and their keys wait behind them: \"hufu replay --retry-parked\" once the cause is gone");
    return report.take();
}

}  // namespace hufu::cli
