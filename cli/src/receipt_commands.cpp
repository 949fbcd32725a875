// The life of messages that ask for receipts: outbox trace, outbox resend, and the batch call outbox receipts.
#include <cstdio>
#include <iostream>

#include <hufu/connect/connect.hpp>

#include "command.hpp"
#include "report.hpp"

namespace hufu::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t lines_in_one_batch = 1'000;

ConfigSchema story_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", "the outbox: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.boolean("json", false, "one JSON object on standard output");
    schema.words("ID|KEY", 1);
    return schema;
}

ConfigSchema trace_schema() {
    ConfigSchema schema = story_schema();
    schema.integer("limit", 20, 1, 10'000, "most messages of a key to show, oldest first");
    return schema;
}

ConfigSchema resend_schema() {
    ConfigSchema schema = story_schema();
    schema.text("who", "", "who decides this, for the audit").required();
    schema.text("why", "", "why, for the audit").required();
    return schema;
}

ConfigSchema receipts_schema() {
    ConfigSchema schema;
    schema.text("outbox", "", "the outbox: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.boolean("json", false, "one JSON object on standard output");
    return schema;
}

/// Opens the book and passes it on, with the message or key that was named.
template <class Body>
int with_book(const Config& config, Body body) {
    if (config.words().size() != 1) {
        std::fputs("hufu: name a message by its id, or messages by their key\n", stderr);
        return exit_usage;
    }
    outbox::AwaitedSelection selection;
    const auto& word = config.words().front();
    if (const auto id = MessageId::parse(word)) {
        selection.id = *id;
    } else {
        selection.key = word;
    }
    const auto store = connect::outbox(config.text("outbox"));
    if (!store) return complain(store.error());
    const auto book = (*store)->awaiting_rows();
    return body(*book, selection);
}

json::object story_json(const outbox::LifeStory& story) {
    json::array missing;
    for (const auto& group : story.missing) missing.push_back(json::value(group));
    json::array events;
    for (const auto& event : story.events) {
        events.push_back(
            json::object{{"at", time_text(event.at)}, {"what", event.what}, {"detail", bytes_json(event.detail)}});
    }
    return {{"id", story.id.to_string()},
            {"topic", story.topic},
            {"ordering_key", bytes_json(story.ordering_key)},
            {"state", story.state},
            {"sends", story.sends},
            {"missing", std::move(missing)},
            {"next_send_in_ms", story.next_send_in ? json::value(story.next_send_in->count()) : json::value(nullptr)},
            {"events", std::move(events)}};
}

void print_story(const outbox::LifeStory& story) {
    std::string state = story.state + ", sent " + std::to_string(story.sends) + " times";
    for (std::size_t at = 0; at < story.missing.size(); ++at) state += (at == 0 ? ", missing: " : ", ") + story.missing[at];
    if (story.next_send_in) {
        state += story.next_send_in->count() > 0 ? ", next send in " + duration_text(*story.next_send_in) : ", overdue";
    }
    print_table({{"message", story.id.to_string()},
                 {"topic", story.topic},
                 {"key", story.ordering_key.empty() ? "(none)" : story.ordering_key},
                 {"state", state}});
    std::vector<std::vector<std::string>> table;
    for (const auto& event : story.events) table.push_back({"  " + time_text(event.at), event.what, event.detail});
    print_table(table);
}

int trace(const Config& config) {
    return with_book(config, [&](outbox::AwaitingRows& book, const outbox::AwaitedSelection& selection) {
        const auto stories = book.trace(selection, static_cast<std::size_t>(config.integer("limit")));
        if (!stories) return complain(stories.error());
        if (config.boolean("json")) {
            json::array told;
            for (const auto& story : *stories) told.push_back(story_json(story));
            print_json({{"messages", std::move(told)}});
            return exit_success;
        }
        for (std::size_t at = 0; at < stories->size(); ++at) {
            if (at > 0) std::puts("");
            print_story((*stories)[at]);
        }
        return exit_success;
    });
}

int resend(const Config& config) {
    for (const char* name : {"who", "why"}) {
        if (config.text(name).empty()) return complain(config.error(name, "must not be empty, the audit keeps it"));
    }
    return with_book(config, [&](outbox::AwaitingRows& book, const outbox::AwaitedSelection& selection) {
        const auto count = book.resend(selection, {config.text("who"), config.text("why")});
        if (!count) return complain(count.error());
        if (config.boolean("json")) {
            print_json({{"resent", *count}});
        } else {
            std::printf("%llu messages are sent again by the relay\n", static_cast<unsigned long long>(*count));
        }
        return exit_success;
    });
}

/// "ID GROUP [refused REASON]".
Result<outbox::Receipt> receipt_of(const std::string& line) {
    const auto refuse = [&](const std::string& why) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "\"" + line.substr(0, 80) + "\" is no receipt: " + why + "; a line is: ID GROUP [refused REASON]"};
    };
    const auto space = line.find(' ');
    const auto id = MessageId::parse(line.substr(0, space));
    if (!id) return refuse("it begins with no message id");
    if (space == std::string::npos) return refuse("it names no group");
    outbox::Receipt receipt{.message = *id};
    const auto second = line.find(' ', space + 1);
    receipt.group = line.substr(space + 1, second == std::string::npos ? second : second - space - 1);
    if (receipt.group.empty()) return refuse("it names no group");
    if (second == std::string::npos) return receipt;
    const std::string rest = line.substr(second + 1);
    if (rest != "refused" && !rest.starts_with("refused ")) return refuse("what follows the group is not \"refused\"");
    receipt.outcome = outbox::Receipt::Outcome::refused;
    receipt.reason = rest.size() > 8 ? rest.substr(8, 1'000) : "";
    return receipt;
}

struct Taken {
    std::uint64_t verdicts[outbox::receipt_verdicts] = {};
};

Result<void> take_batch(outbox::AwaitingRows& book, std::vector<outbox::Receipt>& batch, Taken& taken) {
    if (batch.empty()) return {};
    const auto verdicts = book.take(batch);
    if (!verdicts) return verdicts.error();
    for (const auto verdict : *verdicts) ++taken.verdicts[static_cast<std::size_t>(verdict)];
    batch.clear();
    return {};
}

int receipts(const Config& config) {
    const auto store = connect::outbox(config.text("outbox"));
    if (!store) return complain(store.error());
    const auto book = (*store)->awaiting_rows();
    Taken taken;
    std::vector<outbox::Receipt> batch;
    std::uint64_t malformed = 0;
    for (std::string line; std::getline(std::cin, line);) {
        if (line.empty()) continue;
        auto receipt = receipt_of(line);
        if (!receipt) {
            ++malformed;
            std::fprintf(stderr, "hufu: %s\n", receipt.error().text().c_str());
            continue;
        }
        batch.push_back(std::move(*receipt));
        if (batch.size() < lines_in_one_batch) continue;
        if (const auto done = take_batch(*book, batch, taken); !done) return complain(done.error());
    }
    if (const auto done = take_batch(*book, batch, taken); !done) return complain(done.error());
    json::object counts;
    std::vector<std::vector<std::string>> table;
    for (std::size_t at = 0; at < outbox::receipt_verdicts; ++at) {
        const auto name = to_string(static_cast<outbox::ReceiptVerdict>(at));
        counts[name] = taken.verdicts[at];
        table.push_back({std::string{name}, std::to_string(taken.verdicts[at])});
    }
    counts["malformed"] = malformed;
    table.push_back({"malformed", std::to_string(malformed)});
    if (config.boolean("json")) {
        print_json(counts);
    } else {
        print_table(table);
    }
    return malformed == 0 ? exit_success : exit_failure;
}

}  // namespace

std::vector<Command> receipt_commands() {
    return {
        {"outbox", "trace", "the whole life of a message that asks for receipts", trace_schema, trace},
        {"outbox", "resend", "send a message once more that has not been confirmed", resend_schema, resend},
        {"outbox", "receipts", "take receipts from standard input, a line each: ID GROUP [refused REASON]", receipts_schema,
         receipts},
    };
}

}  // namespace hufu::cli
