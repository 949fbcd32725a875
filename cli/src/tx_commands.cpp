// hufu tx: transactions at the bundled broker, seen and settled by hand; and the cleaning of verdict tables.
#include <algorithm>
#include <cstdio>
#include <functional>

#include <hufu/connect/connect.hpp>

#include "actor.hpp"
#include "command.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using remoting::TransactionData;
using std::chrono::milliseconds;

ConfigSchema broker_schema() {
    ConfigSchema schema;
    schema.text("broker", "", "the broker: rocketmq://[KEY@]HOST:PORT, rocketmq+unix:PATH or embedded:DIR").required();
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

ConfigSchema list_schema() {
    ConfigSchema schema = broker_schema();
    schema.choice("state", {"open", "pending", "parked", "conflict", "committed", "rolled_back"}, "open",
                  "only these; open: pending, parked and conflict");
    schema.text("group", "", "only of this producer group (group%handler names one handler)");
    schema.text("topic", "", "only with a message for this topic");
    schema.duration("older_than", {}, {}, std::chrono::hours{24 * 365}, "only begun longer ago");
    schema.integer("limit", 100, 1, remoting::transactions_listed_max, "most transactions to show");
    schema.text("after", "", "the page that \"next\" of the one before names");
    return schema;
}

ConfigSchema show_schema() {
    ConfigSchema schema = broker_schema();
    schema.words("ID", 1);
    return schema;
}

ConfigSchema decide_schema() {
    ConfigSchema schema = show_schema();
    schema.text("reason", "", "why, for the audit").required();
    schema.text("actor", "", "who decides this, for the audit; empty: the user of this process");
    return schema;
}

ConfigSchema purge_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", "the database with the verdict table: sqlite:PATH or postgresql://USER@HOST/DATABASE")
        .required();
    schema.duration("retention", std::chrono::hours{24 * 30}, std::chrono::hours{1}, std::chrono::hours{24 * 3650},
                    "keep the verdicts of transactions that began within it; longer than a broker may ask, and than a "
                    "transaction may stay parked");
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

using Body = std::function<int(rocketmq::TransactionAdmin&)>;

int with_admin(const Config& config, const Body& body) {
    const auto admin = connect::transaction_admin(config.text("broker"));
    return admin ? body(**admin) : complain(admin.error());
}

/// What the broker refused is no wrong usage, whatever it thinks of our words.
int refused(const Error& error) {
    static_cast<void>(complain(error));
    return exit_failure;
}

std::string at_text(std::int64_t ms) { return ms == 0 ? "-" : time_text(SystemTime{milliseconds{ms}}); }
json::value at_json(std::int64_t ms) {
    return ms == 0 ? json::value(nullptr) : json::value(time_text(SystemTime{milliseconds{ms}}));
}

json::object to_json(const TransactionData& data) {
    json::array messages;
    for (const auto& half : data.halves) {
        messages.push_back(
            json::object{{"id", half.message_id},
                         {"topic", half.topic},
                         {"queue", half.queue_id},
                         {"offset_id", half.offset_message_id},
                         {"queue_offset", half.queue_offset < 0 ? json::value(nullptr) : json::value(half.queue_offset)},
                         {"body_bytes", half.body_bytes},
                         {"keys", bytes_json(half.keys)},
                         {"from", half.born_host}});
    }
    json::array events;
    for (const auto& event : data.events) {
        events.push_back(json::object{{"at", at_json(event.at_ms)},
                                      {"what", event.what},
                                      {"who", bytes_json(event.who)},
                                      {"reason", bytes_json(event.reason)}});
    }
    return {{"transaction", data.transaction_id},
            {"state", data.state},
            {"group", data.producer_group},
            {"verdict_store", data.verdict_store},
            {"prepared_at", at_json(data.prepared_at_ms)},
            {"decided_at", at_json(data.decided_at_ms)},
            {"next_check_at", at_json(data.next_check_at_ms)},
            {"checks_answered", data.checks_answered},
            {"checks_undelivered", data.checks_undelivered},
            {"reason", bytes_json(data.reason)},
            {"messages", std::move(messages)},
            {"events", std::move(events)}};
}

std::string topics_of(const TransactionData& data) {
    std::string text;
    for (const auto& half : data.halves) {
        if (text.find(half.topic) == std::string::npos) text += (text.empty() ? "" : ",") + half.topic;
    }
    return text;
}

int list(const Config& config) {
    return with_admin(config, [&](rocketmq::TransactionAdmin& admin) {
        remoting::TransactionFilter filter;
        if (config.text("state") != "open") filter.state = config.text("state");
        filter.producer_group = config.text("group");
        filter.topic = config.text("topic");
        filter.older_than_s = config.milliseconds("older_than").count() / 1'000;
        filter.limit = static_cast<std::int32_t>(config.integer("limit"));
        filter.after = config.text("after");
        const auto found = admin.list(filter);
        if (!found) return refused(found.error());
        if (config.boolean("json")) {
            json::array transactions;
            for (const auto& data : found->transactions) transactions.push_back(to_json(data));
            print_json({{"transactions", std::move(transactions)},
                        {"next", found->next.empty() ? json::value(nullptr) : json::value(found->next)}});
            return exit_success;
        }
        if (found->transactions.empty()) {
            std::puts("no such transactions");
            return exit_success;
        }
        std::vector<std::vector<std::string>> table{
            {"TRANSACTION", "STATE", "GROUP", "TOPICS", "MESSAGES", "BEGUN AT", "CHECKS", "NEXT CHECK", "REASON"}};
        for (const auto& data : found->transactions) {
            table.push_back({data.transaction_id, data.state, data.producer_group, topics_of(data),
                             std::to_string(data.halves.size()), at_text(data.prepared_at_ms),
                             std::to_string(data.checks_answered), at_text(data.next_check_at_ms), data.reason});
        }
        print_table(table);
        if (!found->next.empty()) std::printf("there are more: --after \"%s\"\n", found->next.c_str());
        return exit_success;
    });
}

int print(const Config& config, const Result<TransactionData>& data) {
    if (!data) return refused(data.error());
    if (config.boolean("json")) {
        print_json(to_json(*data));
        return exit_success;
    }
    print_table({{"transaction", data->transaction_id},
                 {"state", data->state},
                 {"group", data->producer_group},
                 {"verdict store", data->verdict_store.empty() ? "-" : data->verdict_store},
                 {"begun at", at_text(data->prepared_at_ms)},
                 {"decided at", at_text(data->decided_at_ms)},
                 {"next check at", at_text(data->next_check_at_ms)},
                 {"checks",
                  std::to_string(data->checks_answered) + " answered, " + std::to_string(data->checks_undelivered) + " not"},
                 {"reason", data->reason.empty() ? "-" : data->reason}});
    std::vector<std::vector<std::string>> messages{{"MESSAGE", "TOPIC", "QUEUE", "OFFSET", "BYTES", "KEYS", "FROM"}};
    for (const auto& half : data->halves) {
        messages.push_back({half.message_id, half.topic, std::to_string(half.queue_id),
                            half.queue_offset < 0 ? "-" : std::to_string(half.queue_offset), std::to_string(half.body_bytes),
                            half.keys, half.born_host});
    }
    std::puts("");
    print_table(messages);
    if (!data->events.empty()) {
        std::vector<std::vector<std::string>> events{{"AT", "WHAT", "WHO", "REASON"}};
        for (const auto& event : data->events) events.push_back({at_text(event.at_ms), event.what, event.who, event.reason});
        std::puts("");
        print_table(events);
    }
    return exit_success;
}

/// Calls `body` with the transaction that the command names.
int with_id(const Config& config, const std::function<int(const std::string& id, rocketmq::TransactionAdmin&)>& body) {
    if (config.words().empty() || config.words().front().empty()) {
        return complain({ErrorCode::invalid_argument, Disposition::reject,
                         "name the transaction, or one of its messages (id or offset id), after the verb; \"hufu tx list\" "
                         "shows them"});
    }
    return with_admin(config, [&](rocketmq::TransactionAdmin& admin) { return body(config.words().front(), admin); });
}

int show(const Config& config) {
    return with_id(config,
                   [&](const std::string& id, rocketmq::TransactionAdmin& admin) { return print(config, admin.show(id)); });
}

int with_command(const Config& config, const std::string& verdict,
                 Result<TransactionData> (rocketmq::TransactionAdmin::*act)(const remoting::TransactionCommand&)) {
    if (config.text("reason").empty()) return complain(config.error("reason", "must not be empty, the audit keeps it"));
    return with_id(config, [&](const std::string& id, rocketmq::TransactionAdmin& admin) {
        return print(config, (admin.*act)({id, verdict, config.text("reason"), actor_of(config)}));
    });
}

int commit(const Config& config) { return with_command(config, "commit", &rocketmq::TransactionAdmin::decide); }
int rollback(const Config& config) { return with_command(config, "rollback", &rocketmq::TransactionAdmin::decide); }
int purge(const Config& config) {
    const auto retention = std::chrono::floor<std::chrono::hours>(config.duration("retention"));
    if (retention != config.duration("retention")) return complain(config.error("retention", "is counted in whole hours"));
    const auto store = connect::verdicts(config.text("outbox"));
    if (!store) return complain(store.error());
    const auto purged = (*store)->purge(retention);
    if (!purged) return refused(purged.error());
    if (config.boolean("json")) {
        print_json({{"rows", purged->rows}, {"watermark", time_text(purged->watermark)}, {"finished", purged->finished}});
        return exit_success;
    }
    std::printf("%lu verdicts deleted; transactions that began before %s and have none are beyond retention now\n",
                purged->rows, time_text(purged->watermark).c_str());
    if (!purged->finished) std::puts("transactions from before still run: purge again later, and more rows go");
    return exit_success;
}

int resume(const Config& config) { return with_command(config, {}, &rocketmq::TransactionAdmin::resume); }

}  // namespace

std::vector<Command> tx_commands() {
    return {
        {"tx", "list", "transactions without a verdict, parked or in conflict", list_schema, list},
        {"tx", "show", "one transaction: its messages, checks and history", show_schema, show},
        {"tx", "commit", "make the messages of a transaction visible, audited", decide_schema, commit},
        {"tx", "rollback", "make sure that the messages of a transaction are never seen, audited", decide_schema, rollback},
        {"tx", "resume", "ask again about a parked transaction, audited", decide_schema, resume},
        {"tx", "purge", "delete old verdicts from the business database; for a daily job", purge_schema, purge},
    };
}

}  // namespace hufu::cli
