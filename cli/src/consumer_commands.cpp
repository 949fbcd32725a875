// hufu consumer: the keys that a consumer group has parked, in its guards' database.
#include <cstdio>

#include <hufu/connect/consumer_memory.hpp>

#include "command.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;

ConfigSchema group_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", "the database: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.text("group", "", "the consumer group").required();
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

ConfigSchema reopen_schema() {
    ConfigSchema schema = group_schema();
    schema.text("topic", "", "topic of the parked key").required();
    schema.text("key", "", "the ordering key").required();
    schema.text("actor", "", "who decides this, for the audit").required();
    schema.text("reason", "", "why, for the audit").required();
    return schema;
}

int list(const Config& config) {
    const auto keys = connect::parked_keys(config.text("outbox"), config.text("group"));
    if (!keys) return complain(keys.error());
    json::array parked;
    std::vector<std::vector<std::string>> table{{"TOPIC", "KEY", "FIRST MESSAGE", "REASON"}};
    for (const auto& key : *keys) {
        parked.push_back(json::object{{"topic", key.key.topic},
                                      {"key", bytes_json(key.key.ordering_key)},
                                      {"first_id", key.first.to_string()},
                                      {"reason", bytes_json(key.reason)}});
        table.push_back({key.key.topic, key.key.ordering_key, key.first.to_string(), key.reason});
    }
    if (config.boolean("json")) {
        print_json({{"group", config.text("group")}, {"parked", std::move(parked)}});
    } else if (keys->empty()) {
        std::printf("group %s has parked no key\n", config.text("group").c_str());
    } else {
        print_table(table);
    }
    return exit_success;
}

int reopen(const Config& config) {
    for (const char* name : {"actor", "reason"}) {
        if (config.text(name).empty()) return complain(config.error(name, "must not be empty, the audit keeps it"));
    }
    const auto reopened =
        connect::reopen_parked_key(config.text("outbox"), config.text("group"), {config.text("topic"), config.text("key")},
                                   {config.text("actor"), config.text("reason")});
    if (!reopened) {
        static_cast<void>(complain(reopened.error()));
        return exit_failure;
    }
    if (config.boolean("json")) {
        print_json({{"reopened", 1}});
    } else {
        std::puts("reopened; running members let its next messages through within 10 s (parked_keys_every)");
    }
    return exit_success;
}

}  // namespace

std::vector<Command> consumer_commands() {
    return {{"consumer", "list", "keys that a consumer group has parked behind a dead letter, and why", group_schema, list},
            {"consumer", "reopen", "let a parked key through again; audited", reopen_schema, reopen}};
}

}  // namespace hufu::cli
