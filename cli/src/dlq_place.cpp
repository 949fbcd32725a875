#include "dlq_place.hpp"

#include <hufu/connect/connect.hpp>

#include "moment.hpp"

namespace hufu::cli {
namespace {

constexpr const char* filter_flags[] = {"dead_reason", "key", "origin", "id", "since", "until"};

}  // namespace

void add_broker(ConfigSchema& schema) {
    schema
        .text("broker", "", "the broker: rocketmq://[KEY@]HOST:PORT, rocketmq+unix:PATH, embedded:DIR or kafka://HOST:PORT")
        .required();
    schema.boolean("json", false, "one JSON object on standard output");
}

void add_place(ConfigSchema& schema) {
    schema.text("group", "", "whose dead letters: the consumer group");
    schema.text("topic", "", "the dead-letter topic itself, instead of the group: \"%DLQ%stock\", or any topic on Kafka");
}

void add_filter(ConfigSchema& schema) {
    schema.text("dead_reason", "", "only those whose reason contains this");
    schema.text("key", "", "only with this ordering key or business key");
    schema.text("origin", "", "only those that were consumed from this topic");
    schema.text("id", "", "only the message with this id");
    schema.text("since", "", "only those that died then or later: 2026-01-02T03:04:05Z, or 2h for two hours ago");
    schema.text("until", "", "only those that died before that");
}

Result<std::string> dead_letter_topic_of(const Config& config) {
    const auto& group = config.text("group");
    const auto& topic = config.text("topic");
    if (group.empty() == topic.empty()) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     group.empty()
                         ? "say whose dead letters: --group GROUP, or --topic TOPIC; \"hufu dlq list\" alone shows "
                           "which there are"
                         : "--group and --topic exclude each other: give one"};
    }
    std::string name = group.empty() ? topic : "%DLQ%" + group;
    if (const auto valid = validate(Message{.topic = name}); !valid) return valid.error();
    return name;
}

Result<deadletter::Filter> filter_of(const Config& config) {
    deadletter::Filter filter;
    filter.reason_part = config.text("dead_reason");
    filter.key = config.text("key");
    filter.origin_topic = config.text("origin");
    filter.id = config.text("id");
    if (!filter.id.empty()) {
        const auto id = MessageId::parse(filter.id);
        if (!id) return config.error("id", "is no message id (36 characters, such as \"hufu dlq list\" shows)");
        filter.id = id->to_string();
    }
    for (const auto& [name, field] : {std::pair{"since", &filter.dead_since}, std::pair{"until", &filter.dead_until}}) {
        if (config.text(name).empty()) continue;
        const auto moment = parse_moment(config.text(name), system_clock().system_now());
        if (!moment) return config.error(name, moment.error().text());
        *field = *moment;
    }
    return filter;
}

std::string filter_text(const Config& config) {
    std::string text;
    for (const char* name : filter_flags) {
        if (!config.text(name).empty()) text += (text.empty() ? "" : " ") + std::string{name} + "=" + config.text(name);
    }
    return text.empty() ? "all" : text;
}

Result<Letters> open_letters(const Config& config) {
    Letters letters;
    auto reader = connect::topic_reader(config.text("broker"));
    if (!reader) return reader.error();
    letters.reader = std::move(*reader);
    deadletter::AuditReader audit{*letters.reader};
    if (const auto read = audit.read_into(letters.ledger); !read) return read.error();
    return letters;
}

Error with_way_out(const Error& error, const std::string& topic, deadletter::TopicReader& reader) {
    if (error.code() != ErrorCode::not_found) return error;
    std::string known;
    if (const auto topics = reader.topics()) {
        for (const auto& name : *topics) {
            if (deadletter::is_dead_letter_topic(name)) known += (known.empty() ? "" : ", ") + name;
        }
    }
    return {ErrorCode::not_found, Disposition::reject,
            "the broker has no topic \"" + topic + "\"; " +
                (known.empty() ? "it has no dead letters at all" : "dead letters are in " + known)};
}

}  // namespace hufu::cli
