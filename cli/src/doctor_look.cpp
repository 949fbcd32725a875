#include "doctor_look.hpp"

#include <iterator>

#include <hufu/connect/connect.hpp>
#include <hufu/deadletter/redriver.hpp>
#include <hufu/redis/client.hpp>

#include "http_get.hpp"

namespace hufu::cli {
namespace {

constexpr std::chrono::milliseconds answer_wait{5'000};

Finding unreached(std::string subject, const Error& error, std::string way_out) {
    return {Grade::fail, std::move(subject), "reachable", error.text(), std::move(way_out)};
}

void append(Findings& all, Findings more) {
    all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

bool is_postgres(const std::string& url) { return url.starts_with("postgresql:") || url.starts_with("postgres:"); }

// ---- transactions

Result<OpenTransactions> open_transactions(const std::string& url, const Limits& limits) {
    const auto admin = connect::transaction_admin(url);
    if (!admin) return admin.error();
    OpenTransactions open;
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().system_now().time_since_epoch());
    remoting::TransactionFilter filter;
    filter.limit = remoting::transactions_listed_max;
    const auto found = (*admin)->list(filter);
    if (!found) return found.error();
    open.more = !found->next.empty();
    for (const auto& each : found->transactions) {
        open.parked += each.state == "parked" ? 1 : 0;
        open.conflicts += each.state == "conflict" ? 1 : 0;
        const bool pending = each.state == "pending";
        open.overdue += pending && each.prepared_at_ms + limits.pending_max.count() < now.count() ? 1 : 0;
        ++open.stores[each.verdict_store];
    }
    return open;
}

Findings look_at_transactions(const std::string& url, const std::string& verdicts, const Limits& limits) {
    Findings findings;
    auto open = open_transactions(url, limits);
    if (!open && open.error().code() == ErrorCode::unsupported) {
        findings.push_back({Grade::ok, "broker", "transactions", "not visible on a broker that is none of Hufu's", {}});
    } else if (!open) {
        findings.push_back({Grade::fail, "broker", "transactions", open.error().text(), "see the lines above"});
    }
    if (!verdicts.empty()) {
        const auto store = connect::verdicts(verdicts);
        const auto uuid = store ? (*store)->uuid() : Result<std::string>{store.error()};
        if (!uuid) {
            findings.push_back(unreached("verdicts", uuid.error(),
                                         "check-backs are not answered from here: start the database, or correct the URL; a "
                                         "missing table comes with \"hufu outbox migrate\""));
        } else {
            findings.push_back({Grade::ok, "verdicts", "reachable", "store " + *uuid, {}});
            if (open) open->own_store = *uuid;
        }
    }
    if (open) append(findings, judge(*open, limits));
    return findings;
}

// ---- dead letters

Result<std::vector<DeadLetterDepth>> dead_letters(deadletter::TopicReader& reader) {
    deadletter::Ledger ledger;
    deadletter::AuditReader audit{reader};
    if (const auto read = audit.read_into(ledger); !read) return read.error();
    const auto topics = reader.topics();
    if (!topics) return topics.error();
    std::vector<DeadLetterDepth> depths;
    for (const auto& topic : *topics) {
        if (!deadletter::is_dead_letter_topic(topic)) continue;
        const auto ranges = reader.ranges(topic);
        if (!ranges) return ranges.error();
        DeadLetterDepth depth{topic, 0};
        for (const auto& range : *ranges) {
            const auto all = static_cast<std::uint64_t>(std::max<std::int64_t>(range.end - range.first, 0));
            depth.open += all - std::min(all, ledger.settled_in(topic, range));
        }
        depths.push_back(std::move(depth));
    }
    return depths;
}

Result<std::vector<rocketmq::BrokerHealth>> brokers_of(const std::string& url) { return connect::probe_brokers(url); }

}  // namespace

Findings look_at_outbox(const std::string& url, const Limits& limits) {
    Findings findings;
    if (is_postgres(url)) {
        const auto health = postgres::examine(url);
        if (!health) {
            return {unreached("database", health.error(),
                              "start it, or correct the URL; orders cannot be written while it is away")};
        }
        findings = judge(*health, limits);
        if (health->schema_version != health->schema_wanted || health->standby) return findings;
    }
    const auto store = connect::outbox(url);
    const auto status = store ? (*store)->status() : Result<outbox::Status>{store.error()};
    if (!status) {
        const bool version = status.error().code() == ErrorCode::wrong_version;
        findings.push_back({Grade::fail, "database", version ? "schema version" : "reachable", status.error().text(),
                            version ? "\"hufu outbox migrate --outbox URL\"" : "correct the URL, or make the outbox"});
        return findings;
    }
    if (!is_postgres(url)) {
        findings.push_back({Grade::ok,
                            "database",
                            "reachable",
                            (*store)->describe() + ", schema version " + std::to_string(status->schema_version),
                            {}});
    }
    append(findings, judge(*status, limits));
    return findings;
}

Findings look_at_broker(const std::string& url, const std::string& verdicts, const Limits& limits) {
    Findings findings;
    const auto brokers = brokers_of(url);
    const bool kafka = !brokers && brokers.error().code() == ErrorCode::unsupported;
    if (!brokers && !kafka) {
        return {unreached("broker", brokers.error(),
                          "start it, or correct the URL; messages wait in the outbox, or in the buffer, meanwhile")};
    }
    if (brokers) append(findings, judge(*brokers, limits));
    const auto reader = connect::topic_reader(url);
    const auto depths = reader ? dead_letters(**reader) : Result<std::vector<DeadLetterDepth>>{reader.error()};
    if (!depths) {
        findings.push_back({Grade::fail, "broker", kafka ? "reachable" : "dead letters", depths.error().text(),
                            "start it, or correct the URL"});
    } else {
        if (kafka) findings.push_back({Grade::ok, "broker", "reachable", "Kafka answers", {}});
        append(findings, judge(*depths));
    }
    if (!kafka) append(findings, look_at_transactions(url, verdicts, limits));
    return findings;
}

Findings look_at_metrics(const std::string& url) {
    const auto text = http_get(url, answer_wait);
    if (!text)
        return {unreached("metrics", text.error(), "start the broker with --metrics-listen HOST:PORT, or correct the URL")};
    return judge_metrics(parse_metrics(*text));
}

Findings look_at_redis(const std::string& url) {
    std::optional<redis::Client> client;
    try {
        client.emplace(url, redis::ClientOptions{.command_timeout = answer_wait});
    } catch (const Exception& exception) {
        return {unreached("redis", exception.error(), "correct the URL")};
    }
    const auto info = client->run(redis::Command{"INFO"});
    if (!info) {
        return {
            unreached("redis", info.error(),
                      "start it, or correct the URL and password; meanwhile guards have no filter, and the buffer is the "
                      "journal")};
    }
    RedisFacts facts{.info = parse_info(info->text)};
    for (const auto* name : {"appendonly", "appendfsync", "maxmemory-policy"}) {
        const auto setting = client->run(redis::Command{"CONFIG", "GET", name});
        if (setting && setting->items.size() == 2) facts.settings[name] = setting->items[1].text;
    }
    return judge(facts);
}

Findings look_at_buffer(const std::string& url, const Limits& limits) {
    const auto buffer = connect::buffer(url, {}, {.create = false});
    if (!buffer && buffer.error().code() == ErrorCode::busy) {
        return {{Grade::ok, "buffer", "reachable", buffer.error().text() + ": its metrics say how much waits there", {}}};
    }
    if (!buffer) return {unreached("buffer", buffer.error(), "correct the URL")};
    const std::string described = (*buffer)->describe();  // without its password
    BufferFacts facts{.url = url.find('@') == std::string::npos ? url : described, .size = {}, .statement = {}};
    const auto statement = (*buffer)->inspect();
    if (!statement) return {unreached("buffer", statement.error(), "messages go to the next rung meanwhile: start it")};
    facts.statement = *statement;
    const auto size = (*buffer)->size();
    if (!size) return {unreached("buffer", size.error(), "messages go to the next rung meanwhile: start it")};
    facts.size = *size;
    Findings findings{{Grade::ok, "buffer", "reachable", described, {}}};
    append(findings, judge(facts, limits));
    return findings;
}

}  // namespace hufu::cli
