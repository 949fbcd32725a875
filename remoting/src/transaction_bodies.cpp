#include <hufu/remoting/transaction_bodies.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {

using namespace json_fields;

namespace {

constexpr std::size_t list_max = transactions_listed_max;
constexpr std::size_t parts_max = 1'024;  // halves or events of one transaction

/// The text called `name`, or nothing when it is longer than `bytes_max`: then `too_long` says so.
std::string bounded(const json::object& object, std::string_view name, std::size_t bytes_max, std::string& too_long) {
    std::string text = text_of(object, name);
    if (text.size() > bytes_max && too_long.empty()) {
        too_long = "\"" + std::string{name} + "\" has " + std::to_string(text.size()) + " bytes, at most " +
                   std::to_string(bytes_max) + " are taken";
    }
    return text;
}

template <class Each>
void for_each_bounded(const json::object& object, std::string_view name, std::size_t count_max, Each each) {
    std::size_t count = 0;
    for_each_object(object, name, [&](const json::object& element) {
        if (count++ < count_max) each(element);
    });
}

json::object half_object(const HalfData& half) {
    return {{"msgId", half.message_id},
            {"topic", half.topic},
            {"queueId", half.queue_id},
            {"offsetMsgId", half.offset_message_id},
            {"queueOffset", half.queue_offset},
            {"bodyBytes", half.body_bytes},
            {"keys", half.keys},
            {"bornHost", half.born_host}};
}

HalfData half_from(const json::object& object) {
    HalfData half;
    half.message_id = text_of(object, "msgId");
    half.topic = text_of(object, "topic");
    half.queue_id = number32_of(object, "queueId");
    half.offset_message_id = text_of(object, "offsetMsgId");
    half.queue_offset = number_of(object, "queueOffset", -1);
    half.body_bytes = number_of(object, "bodyBytes");
    half.keys = text_of(object, "keys");
    half.born_host = text_of(object, "bornHost");
    return half;
}

TransactionEvent event_from(const json::object& object) {
    return {number_of(object, "atMs"), text_of(object, "what"), text_of(object, "who"), text_of(object, "reason")};
}

json::object to_object(const TransactionData& data) {
    json::array halves;
    for (const HalfData& half : data.halves) halves.push_back(half_object(half));
    json::array events;
    for (const TransactionEvent& event : data.events)
        events.push_back({{"atMs", event.at_ms}, {"what", event.what}, {"who", event.who}, {"reason", event.reason}});
    return {{"transactionId", data.transaction_id},
            {"state", data.state},
            {"producerGroup", data.producer_group},
            {"verdictStore", data.verdict_store},
            {"halves", std::move(halves)},
            {"preparedAtMs", data.prepared_at_ms},
            {"decidedAtMs", data.decided_at_ms},
            {"nextCheckAtMs", data.next_check_at_ms},
            {"checksAnswered", data.checks_answered},
            {"checksUndelivered", data.checks_undelivered},
            {"reason", data.reason},
            {"events", std::move(events)}};
}

TransactionData from_object(const json::object& object) {
    TransactionData data;
    data.transaction_id = text_of(object, "transactionId");
    data.state = text_of(object, "state");
    data.producer_group = text_of(object, "producerGroup");
    data.verdict_store = text_of(object, "verdictStore");
    for_each_bounded(object, "halves", parts_max, [&](const json::object& half) { data.halves.push_back(half_from(half)); });
    data.prepared_at_ms = number_of(object, "preparedAtMs");
    data.decided_at_ms = number_of(object, "decidedAtMs");
    data.next_check_at_ms = number_of(object, "nextCheckAtMs");
    data.checks_answered = number32_of(object, "checksAnswered");
    data.checks_undelivered = number32_of(object, "checksUndelivered");
    data.reason = text_of(object, "reason");
    for_each_bounded(object, "events", parts_max,
                     [&](const json::object& event) { data.events.push_back(event_from(event)); });
    return data;
}

}  // namespace

bool is_transaction_state(std::string_view text) noexcept {
    using namespace transaction_state;
    return text == pending || text == parked || text == conflict || text == committed || text == rolled_back;
}

Result<TransactionFilter> TransactionFilter::parse(std::string_view text) {
    auto object = parse_object(text, "transaction filter");
    if (!object) return object.error();
    TransactionFilter filter;
    std::string problem;
    filter.state = bounded(*object, "state", transaction_name_bytes_max, problem);
    filter.producer_group = bounded(*object, "producerGroup", transaction_name_bytes_max, problem);
    filter.topic = bounded(*object, "topic", transaction_name_bytes_max, problem);
    filter.after = bounded(*object, "after", transaction_name_bytes_max, problem);
    filter.older_than_s = number_of(*object, "olderThanSeconds");
    filter.limit = number32_of(*object, "limit", filter.limit);
    if (problem.empty() && !filter.state.empty() && !is_transaction_state(filter.state))
        problem = "state \"" + filter.state + "\" is none of pending, parked, conflict, committed, rolled_back";
    if (problem.empty() && (filter.limit < 1 || filter.limit > transactions_listed_max))
        problem =
            "limit " + std::to_string(filter.limit) + " is not within 1 and " + std::to_string(transactions_listed_max);
    if (problem.empty() && filter.older_than_s < 0)
        problem = "olderThanSeconds " + std::to_string(filter.older_than_s) + " is negative";
    if (!problem.empty()) return broken("transaction filter: " + problem);
    return filter;
}

std::string TransactionFilter::to_json() const {
    return json::serialize(json::object{{"state", state},
                                        {"producerGroup", producer_group},
                                        {"topic", topic},
                                        {"olderThanSeconds", older_than_s},
                                        {"limit", limit},
                                        {"after", after}});
}

Result<TransactionData> TransactionData::parse(std::string_view text) {
    auto object = parse_object(text, "transaction");
    if (!object) return object.error();
    return from_object(*object);
}

std::string TransactionData::to_json() const { return json::serialize(to_object(*this)); }

Result<TransactionList> TransactionList::parse(std::string_view text) {
    auto object = parse_object(text, "transactions");
    if (!object) return object.error();
    TransactionList list;
    for_each_bounded(*object, "transactions", list_max,
                     [&](const json::object& element) { list.transactions.push_back(from_object(element)); });
    list.next = text_of(*object, "next");
    list.total = number_of(*object, "total", -1);
    return list;
}

std::string TransactionList::to_json() const {
    json::array elements;
    for (const TransactionData& data : transactions) elements.push_back(to_object(data));
    return json::serialize(json::object{{"transactions", std::move(elements)}, {"next", next}, {"total", total}});
}

Result<TransactionCommand> TransactionCommand::parse(std::string_view text) {
    auto object = parse_object(text, "transaction command");
    if (!object) return object.error();
    TransactionCommand command;
    std::string problem;
    command.id = bounded(*object, "id", transaction_name_bytes_max, problem);
    command.verdict = bounded(*object, "verdict", transaction_name_bytes_max, problem);
    command.reason = bounded(*object, "reason", transaction_reason_bytes_max, problem);
    command.operator_ = bounded(*object, "operator", transaction_name_bytes_max, problem);
    if (problem.empty() && command.id.empty()) problem = "\"id\" is missing: name the transaction or one of its messages";
    if (!problem.empty()) return broken("transaction command: " + problem);
    return command;
}

std::string TransactionCommand::to_json() const {
    return json::serialize(json::object{{"id", id}, {"verdict", verdict}, {"reason", reason}, {"operator", operator_}});
}

}  // namespace hufu::remoting
