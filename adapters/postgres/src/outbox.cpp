#include <hufu/postgres/outbox.hpp>

#include <pqxx/pqxx>

#include <string>
#include <utility>
#include <vector>

#include "pqxx_errors.hpp"
#include "row.hpp"

namespace hufu::postgres {
namespace {

constexpr std::string_view about = "append to the outbox";

/// Runs `action` and turns what pqxx throws into ours.
template <class Action>
void in_callers_transaction(const Action& action) {
    try {
        action();
    } catch (const std::exception&) {
        throw Exception{current_pqxx_error(Setting::in_transaction, about)};
    }
}

void add_element(std::string& array, std::string_view text) {
    array += array.size() == 1 ? "\"" : ",\"";
    for (const char character : text) {
        if (character == '"' || character == '\\') array += '\\';
        array += character;
    }
    array += '"';
}

/// Microseconds since 1970, which the statement turns into a timestamp; empty for none.
std::string due(const Message& message) {
    return message.deliver_at ? std::to_string(message.deliver_at->time_since_epoch().count()) : std::string{};
}

constexpr const char* allow_asynchronous = "select set_config('hufu.allow_asynchronous_commit', 'on', true)";

// The function keeps its plans per session, so neither pqxx version needs prepared statements here.
constexpr const char* append_one =
    "select hufu.append($1::uuid, $2, $3, $4, $5, $6::bytea, $7::bytea, "
    "timestamptz 'epoch' + nullif($8, '')::bigint * interval '1 microsecond')";
constexpr const char* append_awaited =
    "select hufu.append_with_receipts($1::uuid, $2, $3, $4, $5, $6::bytea, $7::bytea, "
    "timestamptz 'epoch' + nullif($8, '')::bigint * interval '1 microsecond', $9)";
constexpr const char* append_many =
    "insert into hufu.outbox_0(message_id, topic, tag, keys, ordering_key, headers, body) "
    "select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])";
constexpr const char* append_many_due =
    "select hufu.append(m.id, m.topic, m.tag, m.keys, m.ordering_key, m.headers, m.body, "
    "timestamptz 'epoch' + nullif(m.due, '')::bigint * interval '1 microsecond') "
    "from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[]) "
    "as m(id, topic, tag, keys, ordering_key, headers, body, due)";

}  // namespace

Outbox::Outbox(OutboxOptions options, Clock& clock, Random& random) : options_{options}, ids_{clock, random} {}

MessageId Outbox::append(pqxx::transaction_base& transaction, const Message& message) {
    check(message);
    const MessageId id = message.id.is_nil() ? ids_.next() : message.id;
    in_callers_transaction([&] {
        if (options_.allow_asynchronous_commit) transaction.exec(allow_asynchronous);
        transaction.exec_params(append_one, id.to_string(), message.topic, message.tag, joined_keys(message.keys),
                                message.ordering_key, hex(packed_headers(message.headers)), hex(message.body), due(message));
    });
    return id;
}

MessageId Outbox::append(pqxx::transaction_base& transaction, const Message& message, const outbox::Receipts& receipts) {
    const Message asking = outbox::with_receipts(message, receipts);
    check(asking);
    const MessageId id = asking.id.is_nil() ? ids_.next() : asking.id;
    in_callers_transaction([&] {
        if (options_.allow_asynchronous_commit) transaction.exec(allow_asynchronous);
        transaction.exec_params(append_awaited, id.to_string(), asking.topic, asking.tag, joined_keys(asking.keys),
                                asking.ordering_key, hex(packed_headers(asking.headers)), hex(asking.body), due(asking),
                                encode(receipts));
    });
    return id;
}

void Outbox::append(pqxx::transaction_base& transaction, std::span<Message> messages) {
    if (messages.empty()) return;
    for (const auto& message : messages) check(message);
    bool any_due = false;
    std::vector<std::string> columns(8, "{");
    for (auto& message : messages) {
        if (message.id.is_nil()) message.id = ids_.next();
        any_due = any_due || message.deliver_at;
        add_element(columns[0], message.id.to_string());
        add_element(columns[1], message.topic);
        add_element(columns[2], message.tag);
        add_element(columns[3], joined_keys(message.keys));
        add_element(columns[4], message.ordering_key);
        add_element(columns[5], hex(packed_headers(message.headers)));
        add_element(columns[6], hex(message.body));
        add_element(columns[7], due(message));
    }
    for (auto& column : columns) column += '}';
    in_callers_transaction([&] {
        if (options_.allow_asynchronous_commit) transaction.exec(allow_asynchronous);
        if (any_due) {
            transaction.exec_params(append_many_due, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5],
                                    columns[6], columns[7]);
        } else {
            transaction.exec_params(append_many, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5],
                                    columns[6]);
        }
    });
}

}  // namespace hufu::postgres
