#include <cstdio>
#include <functional>

#include <hufu/connect/connect.hpp>

#include "command.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr const char* outbox_help = "the outbox: sqlite:PATH or postgresql://USER@HOST/DATABASE";

ConfigSchema outbox_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", outbox_help).required();
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

ConfigSchema migrate_schema() {
    ConfigSchema schema = outbox_schema();
    schema.boolean("print", false, "print the script instead of applying it (\"--outbox sqlite:\" names the dialect)");
    return schema;
}

ConfigSchema limited_schema() {
    ConfigSchema schema = outbox_schema();
    schema.integer("limit", 100, 1, 1'000'000, "most rows to show");
    return schema;
}

ConfigSchema key_schema(ConfigSchema schema) {
    schema.text("topic", "", "topic of the parked rows").required();
    schema.text("key", "", "their ordering key; empty: rows without one");
    return schema;
}

ConfigSchema show_schema() { return key_schema(limited_schema()); }

ConfigSchema decide_schema() {
    ConfigSchema schema = key_schema(outbox_schema());
    schema.integer("seq", 0, 0, std::numeric_limits<std::int64_t>::max(), "this row alone; 0: all rows of the key");
    schema.text("actor", "", "who decides this, for the audit").required();
    schema.text("reason", "", "why, for the audit").required();
    return schema;
}

/// Opens the outbox and passes it on; the way every command but `migrate` begins.
int with_store(const Config& config, const std::function<int(outbox::Store&)>& body) {
    const auto store = connect::outbox(config.text("outbox"));
    return store ? body(**store) : complain(store.error());
}

std::string optional_text(const std::optional<milliseconds>& duration) { return duration ? duration_text(*duration) : "-"; }

json::value optional_json(const std::optional<milliseconds>& duration) {
    return duration ? json::value(duration->count()) : json::value(nullptr);
}

int migrate(const Config& config) {
    const auto& url = config.text("outbox");
    if (config.boolean("print")) {
        const auto script = connect::printed_migrations(url);
        if (!script) {
            return complain(script.error());
        }
        if (config.boolean("json")) {
            print_json({{"script", *script}});
        } else {
            std::fputs(script->c_str(), stdout);
        }
        return exit_success;
    }
    const auto version = connect::migrate_outbox(url);
    if (!version) {
        return complain(version.error());
    }
    if (config.boolean("json")) {
        print_json({{"schema_version", *version}});
    } else {
        std::printf("schema version %d\n", *version);
    }
    return exit_success;
}

json::object status_json(const outbox::Status& status) {
    json::value owner = nullptr;
    if (status.owner) {
        owner = json::object{{"owner", status.owner->owner},
                             {"epoch", status.owner->epoch},
                             {"lease_left_ms", status.owner->lease_left.count()}};
    }
    return {{"pending", status.pending},         {"oldest_age_ms", optional_json(status.oldest_age)},
            {"delayed", status.delayed},         {"next_due_in_ms", optional_json(status.next_due_in)},
            {"parked_rows", status.parked_rows}, {"parked_keys", status.parked_keys},
            {"awaiting", status.awaiting},       {"awaiting_parked", status.awaiting_parked},
            {"owner", std::move(owner)},         {"schema_version", status.schema_version}};
}

int status(const Config& config) {
    return with_store(config, [&](outbox::Store& store) {
        const auto status = store.status();
        if (!status) {
            return complain(status.error());
        }
        if (config.boolean("json")) {
            print_json(status_json(*status));
            return exit_success;
        }
        std::string owner = "never owned";
        if (status->owner) {
            const auto left = status->owner->lease_left;
            owner = status->owner->owner + ", epoch " + std::to_string(status->owner->epoch) +
                    (left.count() >= 0 ? ", lease runs for " + duration_text(left)
                                       : ", lease ended " + duration_text(-left) + " ago");
        }
        print_table(
            {{"outbox", store.describe()},
             {"pending", std::to_string(status->pending)},
             {"oldest pending", optional_text(status->oldest_age)},
             {"delayed", std::to_string(status->delayed)},
             {"next due in", optional_text(status->next_due_in)},
             {"parked", std::to_string(status->parked_rows) + " rows of " + std::to_string(status->parked_keys) + " keys"},
             {"awaiting receipts",
              std::to_string(status->awaiting) + ", of these parked " + std::to_string(status->awaiting_parked)},
             {"relay", owner},
             {"schema version", std::to_string(status->schema_version)}});
        return exit_success;
    });
}

int list(const Config& config) {
    return with_store(config, [&](outbox::Store& store) {
        const auto keys = store.parking_lot()->list();
        if (!keys) {
            return complain(keys.error());
        }
        if (config.boolean("json")) {
            json::array parked;
            for (const auto& key : *keys) {
                parked.push_back(json::object{{"topic", key.key.topic},
                                              {"key", bytes_json(key.key.ordering_key)},
                                              {"rows", key.rows},
                                              {"rows_released", key.rows_released},
                                              {"first_seq", key.first_seq},
                                              {"attempts", key.attempts},
                                              {"reason", bytes_json(key.reason)},
                                              {"parked_at", time_text(key.parked_at)}});
            }
            print_json({{"parked", std::move(parked)}});
            return exit_success;
        }
        if (keys->empty()) {
            std::puts("nothing is parked");
            return exit_success;
        }
        std::vector<std::vector<std::string>> table{{"TOPIC", "KEY", "ROWS", "RELEASED", "ATTEMPTS", "PARKED AT", "REASON"}};
        for (const auto& key : *keys) {
            table.push_back({key.key.topic, key.key.ordering_key.empty() ? "(none)" : key.key.ordering_key,
                             std::to_string(key.rows), std::to_string(key.rows_released), std::to_string(key.attempts),
                             time_text(key.parked_at), key.reason});
        }
        print_table(table);
        return exit_success;
    });
}

json::object row_json(const outbox::ParkedRow& parked) {
    const auto& message = parked.row.message;
    json::object headers;
    for (const auto& [name, value] : message.headers) {
        headers[name] = bytes_json(value);
    }
    json::array keys;
    for (const auto& key : message.keys) {
        keys.push_back(bytes_json(key));
    }
    return {{"seq", parked.row.seq},
            {"id", message.id.to_string()},
            {"created_at", time_text(parked.row.created_at)},
            {"parked_at", time_text(parked.parked_at)},
            {"attempts", parked.attempts},
            {"reason", bytes_json(parked.reason)},
            {"released", parked.released},
            {"topic", message.topic},
            {"tag", bytes_json(message.tag)},
            {"keys", std::move(keys)},
            {"ordering_key", bytes_json(message.ordering_key)},
            {"headers", std::move(headers)},
            {"body", bytes_json(message.body)}};
}

outbox::Key key_of(const Config& config) { return {config.text("topic"), config.text("key")}; }

int show(const Config& config) {
    return with_store(config, [&](outbox::Store& store) {
        const auto rows = store.parking_lot()->show(key_of(config), static_cast<std::size_t>(config.integer("limit")));
        if (!rows) {
            return complain(rows.error());
        }
        if (config.boolean("json")) {
            json::array shown;
            for (const auto& row : *rows) {
                shown.push_back(row_json(row));
            }
            print_json({{"rows", std::move(shown)}});
            return exit_success;
        }
        if (rows->empty()) {
            std::puts("nothing is parked of this key; \"hufu outbox list\" shows what is");
            return exit_success;
        }
        constexpr std::size_t preview = 60;
        std::vector<std::vector<std::string>> table{
            {"SEQ", "ID", "ATTEMPTS", "RELEASED", "CREATED AT", "BYTES", "REASON", "BODY"}};
        for (const auto& row : *rows) {
            const auto& body = row.row.message.body;
            table.push_back({std::to_string(row.row.seq), row.row.message.id.to_string(), std::to_string(row.attempts),
                             row.released ? "yes" : "no", time_text(row.row.created_at), std::to_string(body.size()),
                             row.reason, body.size() > preview ? body.substr(0, preview) + "..." : body});
        }
        print_table(table);
        return exit_success;
    });
}

using Decision = Result<std::uint64_t> (outbox::ParkingLot::*)(const outbox::ParkedSelection&, const outbox::AuditNote&);

int decide(const Config& config, Decision decision, const char* done) {
    for (const char* name : {"actor", "reason"}) {
        if (config.text(name).empty()) {
            return complain(config.error(name, "must not be empty, the audit keeps it"));
        }
    }
    return with_store(config, [&](outbox::Store& store) {
        outbox::ParkedSelection selection{key_of(config), {}};
        if (config.integer("seq") != 0) {
            selection.seq = config.integer("seq");
        }
        const auto lot = store.parking_lot();
        const auto rows = (lot.get()->*decision)(selection, {config.text("actor"), config.text("reason")});
        if (!rows) {
            static_cast<void>(complain(rows.error()));
            return exit_failure;
        }
        if (config.boolean("json")) {
            print_json({{done, *rows}});
        } else {
            std::printf("%s %llu rows\n", done, static_cast<unsigned long long>(*rows));
        }
        return exit_success;
    });
}

int release(const Config& config) { return decide(config, &outbox::ParkingLot::release, "released"); }

int discard(const Config& config) { return decide(config, &outbox::ParkingLot::discard, "discarded"); }

int audit(const Config& config) {
    return with_store(config, [&](outbox::Store& store) {
        const auto entries = store.parking_lot()->audit(static_cast<std::size_t>(config.integer("limit")));
        if (!entries) {
            return complain(entries.error());
        }
        json::array listed;
        std::vector<std::vector<std::string>> table{{"AT", "ACTION", "TOPIC", "KEY", "SEQ", "ROWS", "ACTOR", "REASON"}};
        for (const auto& entry : *entries) {
            const auto& selection = entry.selection;
            listed.push_back(json::object{{"at", time_text(entry.at)},
                                          {"action", entry.action},
                                          {"topic", selection.key.topic},
                                          {"key", bytes_json(selection.key.ordering_key)},
                                          {"seq", selection.seq ? json::value(*selection.seq) : json::value(nullptr)},
                                          {"rows", entry.rows},
                                          {"actor", bytes_json(entry.note.who)},
                                          {"reason", bytes_json(entry.note.why)}});
            table.push_back({time_text(entry.at), entry.action, selection.key.topic, selection.key.ordering_key,
                             selection.seq ? std::to_string(*selection.seq) : "all", std::to_string(entry.rows),
                             entry.note.who, entry.note.why});
        }
        if (config.boolean("json")) {
            print_json({{"audit", std::move(listed)}});
        } else {
            print_table(table);
        }
        return exit_success;
    });
}

}  // namespace

std::vector<Command> outbox_commands() {
    return {
        {"outbox", "migrate", "bring the schema up to date, or print how", migrate_schema, migrate},
        {"outbox", "status", "what is pending, delayed and parked, and which relay owns it", outbox_schema, status},
        {"outbox", "list", "parked keys and why", outbox_schema, list},
        {"outbox", "show", "parked messages of a key", show_schema, show},
        {"outbox", "release", "send what is parked of a key, in order", decide_schema, release},
        {"outbox", "discard", "delete what is parked, for ever", decide_schema, discard},
        {"outbox", "audit", "who released and discarded what, latest first", limited_schema, audit},
    };
}

}  // namespace hufu::cli
