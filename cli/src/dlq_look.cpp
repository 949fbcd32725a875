// hufu dlq list, show, audit: looking at dead letters changes nothing.
#include <cinttypes>
#include <cstdio>

#include "command.hpp"
#include "dlq_commands.hpp"
#include "dlq_place.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;
using deadletter::DeadLetter;
using deadletter::Ledger;

std::string state_of(const Ledger& ledger, const Ledger::Settlement* settlement) {
    if (settlement == nullptr) return "open";
    return ledger.jobs()[settlement->job].act == deadletter::Act::redrive ? "redriven" : "discarded";
}

json::object to_json(const Ledger& ledger, const DeadLetter& letter, const Ledger::Settlement* settlement) {
    json::array keys;
    for (const auto& key : letter.message.keys) keys.push_back(bytes_json(key));
    json::object object{{"id", letter.message.id.to_string()},
                        {"queue", letter.place.queue},
                        {"offset", letter.place.offset},
                        {"state", state_of(ledger, settlement)},
                        {"dead_at", time_text(letter.dead_at)},
                        {"origin", bytes_json(letter.origin_topic)},
                        {"reason", bytes_json(letter.reason)},
                        {"attempts", letter.attempts},
                        {"redrives", letter.redrives},
                        {"ordering_key", bytes_json(letter.message.ordering_key)},
                        {"tag", bytes_json(letter.message.tag)},
                        {"keys", std::move(keys)},
                        {"body_bytes", letter.message.body.size()}};
    if (settlement != nullptr) {
        const auto& job = ledger.jobs()[settlement->job];
        object["settled_by"] =
            json::object{{"job", job.id}, {"actor", bytes_json(job.actor)}, {"reason", bytes_json(job.reason)}};
    }
    return object;
}

// ---- list

ConfigSchema list_schema() {
    ConfigSchema schema;
    add_broker(schema);
    add_place(schema);
    add_filter(schema);
    schema.choice("state", {"open", "redriven", "discarded", "all"}, "open", "only these; open: not settled yet");
    schema.integer("limit", 100, 1, 1'000'000, "most letters to show");
    return schema;
}

struct Counted {
    std::string topic = {};
    std::uint64_t open = 0;
    std::uint64_t redriven = 0;
    std::uint64_t discarded = 0;
    std::optional<SystemTime> oldest_open = {};
};

Result<Counted> count(Letters& letters, const std::string& topic) {
    Counted counted{.topic = topic};
    const auto read =
        deadletter::each_letter(*letters.reader, letters.ledger, topic, [&](const DeadLetter& letter, const auto* settled) {
            const auto state = state_of(letters.ledger, settled);
            ++(state == "open" ? counted.open : state == "redriven" ? counted.redriven : counted.discarded);
            if (state == "open" && (!counted.oldest_open || letter.dead_at < *counted.oldest_open)) {
                counted.oldest_open = letter.dead_at;
            }
            return true;
        });
    if (!read) return read.error();
    return counted;
}

/// Without a group: all dead-letter topics of the broker.
int overview(const Config& config, Letters& letters) {
    const auto topics = letters.reader->topics();
    if (!topics) return complain_of_server(topics.error());
    json::array rows;
    std::vector<std::vector<std::string>> table{{"DEAD LETTERS", "OPEN", "REDRIVEN", "DISCARDED", "OLDEST OPEN"}};
    for (const auto& topic : *topics) {
        if (!deadletter::is_dead_letter_topic(topic)) continue;
        const auto counted = count(letters, topic);
        if (!counted) return complain_of_server(counted.error());
        const std::string oldest = counted->oldest_open ? time_text(*counted->oldest_open) : "";
        rows.push_back(json::object{{"topic", topic},
                                    {"open", counted->open},
                                    {"redriven", counted->redriven},
                                    {"discarded", counted->discarded},
                                    {"oldest_open_at", oldest.empty() ? json::value(nullptr) : json::value(oldest)}});
        table.push_back({topic, std::to_string(counted->open), std::to_string(counted->redriven),
                         std::to_string(counted->discarded), oldest.empty() ? "-" : oldest});
    }
    if (config.boolean("json")) {
        print_json({{"topics", std::move(rows)}});
    } else if (table.size() == 1) {
        std::puts("the broker has no dead letters");
    } else {
        print_table(table);
    }
    return exit_success;
}

int list(const Config& config) {
    const auto filter = filter_of(config);
    if (!filter) return complain(filter.error());
    const bool all_topics = config.text("group").empty() && config.text("topic").empty();
    if (all_topics && !filter->fits_all()) return complain(dead_letter_topic_of(config).error());
    const auto topic = all_topics ? Result<std::string>{std::string{}} : dead_letter_topic_of(config);
    if (!topic) return complain(topic.error());
    auto letters = open_letters(config);
    if (!letters) return complain_of_server(letters.error());
    if (all_topics) return overview(config, *letters);

    const auto& wanted = config.text("state");
    const auto limit = static_cast<std::size_t>(config.integer("limit"));
    json::array rows;
    std::vector<std::vector<std::string>> table{{"ID", "DEAD AT", "FROM", "KEY", "ATTEMPTS", "REDRIVES", "STATE", "REASON"}};
    bool more = false;
    const auto read = deadletter::each_letter(
        *letters->reader, letters->ledger, *topic, [&](const DeadLetter& letter, const Ledger::Settlement* settlement) {
            const auto state = state_of(letters->ledger, settlement);
            if ((wanted != "all" && wanted != state) || !filter->fits(letter)) return true;
            more = rows.size() == limit;
            if (more) return false;
            rows.push_back(to_json(letters->ledger, letter, settlement));
            table.push_back({letter.message.id.to_string(), time_text(letter.dead_at), letter.origin_topic,
                             letter.message.ordering_key, std::to_string(letter.attempts), std::to_string(letter.redrives),
                             state, letter.reason});
            return true;
        });
    if (!read) return complain_of_server(with_way_out(read.error(), *topic, *letters->reader));
    if (config.boolean("json")) {
        print_json({{"topic", *topic}, {"letters", std::move(rows)}, {"more", more}});
        return exit_success;
    }
    if (rows.empty()) {
        std::puts("no such dead letters");
        return exit_success;
    }
    print_table(table);
    if (more) std::printf("there are more: --limit above %zu, or a narrower filter\n", limit);
    return exit_success;
}

// ---- show

ConfigSchema show_schema() {
    ConfigSchema schema;
    add_broker(schema);
    add_place(schema);
    schema.words("ID", 1);
    return schema;
}

void print_letter(const Ledger& ledger, const DeadLetter& letter, const Ledger::Settlement* settlement) {
    std::vector<std::vector<std::string>> table{
        {"message", letter.message.id.to_string()},
        {"lies at", letter.place.queue + ", offset " + std::to_string(letter.place.offset)},
        {"dead at", time_text(letter.dead_at)},
        {"from topic", letter.origin_topic.empty() ? "-" : letter.origin_topic},
        {"reason", letter.reason},
        {"attempts", std::to_string(letter.attempts)},
        {"redriven before", std::to_string(letter.redrives) + " times"},
        {"ordering key", letter.message.ordering_key},
        {"tag", letter.message.tag},
        {"state", state_of(ledger, settlement)}};
    if (settlement != nullptr) {
        const auto& job = ledger.jobs()[settlement->job];
        table.push_back({"settled by", job.actor + ", " + time_text(job.begun_at) + ", because: " + job.reason});
    }
    for (const auto& [name, value] : letter.message.headers) table.push_back({"header " + name, value});
    print_table(table);
    const auto body = bytes_json(letter.message.body);
    std::printf("\n%s\n", body.is_string() ? letter.message.body.c_str() : json::serialize(body).c_str());
}

int show(const Config& config) {
    const auto topic = dead_letter_topic_of(config);
    if (!topic) return complain(topic.error());
    if (config.words().empty()) {
        return complain({ErrorCode::invalid_argument, Disposition::reject,
                         "name the message after the verb: its id, as \"hufu dlq list\" shows it"});
    }
    const auto id = MessageId::parse(config.words().front());
    if (!id) return complain(id.error());
    auto letters = open_letters(config);
    if (!letters) return complain_of_server(letters.error());
    // The latest copy: a message that came back after a redrive lies there more than once.
    std::optional<DeadLetter> found;
    const Ledger::Settlement* settlement = nullptr;
    const auto read =
        deadletter::each_letter(*letters->reader, letters->ledger, *topic, [&](DeadLetter letter, const auto* settled) {
            if (letter.message.id == *id) {
                found = std::move(letter);
                settlement = settled;
            }
            return true;
        });
    if (!read) return complain_of_server(with_way_out(read.error(), *topic, *letters->reader));
    if (!found) {
        return complain({ErrorCode::not_found, Disposition::reject,
                         "\"" + *topic + "\" has no message " + id->to_string() + "; \"hufu dlq list\" shows which it has"});
    }
    if (!config.boolean("json")) {
        print_letter(letters->ledger, *found, settlement);
        return exit_success;
    }
    json::object object = to_json(letters->ledger, *found, settlement);
    json::object headers;
    for (const auto& [name, value] : found->message.headers) headers[name] = bytes_json(value);
    object["headers"] = std::move(headers);
    object["body"] = bytes_json(found->message.body);
    print_json(object);
    return exit_success;
}

// ---- audit

ConfigSchema audit_schema() {
    ConfigSchema schema;
    add_broker(schema);
    add_place(schema);
    return schema;
}

std::string ending_of(const Ledger::Job& job) {
    if (job.ended) return job.ending;
    if (!job.taken_over_by.empty()) return "died; job " + job.taken_over_by + " went on";
    return "at work, or died: last heard " + time_text(job.heard_at);
}

int audit(const Config& config) {
    const bool all_topics = config.text("group").empty() && config.text("topic").empty();
    const auto topic = all_topics ? Result<std::string>{std::string{}} : dead_letter_topic_of(config);
    if (!topic) return complain(topic.error());
    const auto letters = open_letters(config);
    if (!letters) return complain_of_server(letters.error());
    json::array rows;
    std::vector<std::vector<std::string>> table{{"BEGUN", "DEAD LETTERS", "WHAT", "WHICH", "WHO", "WHY", "HOW IT WENT"}};
    for (const auto& job : letters->ledger.jobs()) {
        if (!topic->empty() && job.topic != *topic) continue;
        rows.push_back(json::object{{"job", job.id},
                                    {"begun_at", time_text(job.begun_at)},
                                    {"topic", job.topic},
                                    {"act", deadletter::to_string(job.act)},
                                    {"asked", bytes_json(job.asked)},
                                    {"actor", bytes_json(job.actor)},
                                    {"reason", bytes_json(job.reason)},
                                    {"settled", job.settled},
                                    {"ended", job.ended},
                                    {"ending", ending_of(job)}});
        table.push_back({time_text(job.begun_at), job.topic, std::string{deadletter::to_string(job.act)}, job.asked,
                         job.actor, job.reason, ending_of(job)});
    }
    if (config.boolean("json")) {
        print_json({{"jobs", std::move(rows)}});
    } else if (rows.empty()) {
        std::puts("nobody redrove or discarded dead letters");
    } else {
        print_table(table);
    }
    return exit_success;
}

}  // namespace

std::vector<Command> dlq_look_commands() {
    return {
        {"dlq", "list", "dead letters of a group, or how many every group has", list_schema, list},
        {"dlq", "show", "one dead letter: reason, headers, body", show_schema, show},
        {"dlq", "audit", "who redrove or discarded what, when and why", audit_schema, audit},
    };
}

}  // namespace hufu::cli
