#include <hufu/postgres/transaction.hpp>

#include <utility>

#include <hufu/core/assert.hpp>

#include "row.hpp"

namespace hufu::postgres {
namespace {

constexpr std::string_view append_one =
    "insert into hufu.outbox_0(message_id, topic, tag, keys, ordering_key, headers, body) "
    "values ($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bytea, $7::bytea)";
constexpr std::string_view append_plain =
    "insert into hufu.outbox_0(message_id, topic, ordering_key, body) values ($1::uuid, $2::text, $3::text, $4::bytea)";
constexpr std::string_view append_many =
    "insert into hufu.outbox_0(message_id, topic, tag, keys, ordering_key, headers, body) "
    "select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])";
constexpr std::string_view append_due =
    "select hufu.append($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bytea, $7::bytea, $8::timestamptz)";
constexpr std::string_view append_awaited =
    "select hufu.append_with_receipts($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bytea, $7::bytea, "
    "$8::timestamptz, $9::text)";
constexpr std::string_view allow_asynchronous = "select set_config('hufu.allow_asynchronous_commit', 'on', true)";

void add_columns(Parameters& parameters, const Message& message, const MessageId& id) {
    parameters.add_uuid(id)
        .add(message.topic)
        .add(message.tag)
        .add(joined_keys(message.keys))
        .add(message.ordering_key)
        .add_binary(packed_headers(message.headers))
        .add_binary(message.body);
}

}  // namespace

Transaction::Transaction(Connection& connection, const TransactionOptions& options)
    : connection_{connection}, options_{options} {
    HUFU_ASSERT(!connection.in_transaction());
    noted_.reserve(4);
}

Transaction::~Transaction() { roll_back(); }

MessageId Transaction::mint() { return (options_.ids == nullptr ? connection_.ids() : *options_.ids).next(); }

void Transaction::run(std::string_view sql, Parameters parameters) {
    HUFU_ASSERT(!over_);
    noted_.push_back({std::string{sql}, {}, std::move(parameters)});
}

/// A statement of this file, whose text need not be copied.
void Transaction::note(std::string_view own_sql, Parameters parameters) {
    noted_.push_back({{}, own_sql, std::move(parameters)});
}

MessageId Transaction::append(const Message& message) {
    HUFU_ASSERT(!over_);
    check(message);
    const MessageId id = message.id.is_nil() ? mint() : message.id;
    if (options_.allow_asynchronous_commit && !appended_) note(allow_asynchronous, {});
    Parameters parameters;
    if (message.deliver_at) {
        add_columns(parameters, message, id);
        parameters.add_timestamp(*message.deliver_at);
        note(append_due, std::move(parameters));
    } else if (message.tag.empty() && message.keys.empty() && message.headers.empty()) {
        parameters.reserve(4, 32 + message.topic.size() + message.ordering_key.size() + message.body.size());
        parameters.add_uuid(id).add(message.topic).add(message.ordering_key).add_binary(message.body);
        note(append_plain, std::move(parameters));
    } else {
        add_columns(parameters, message, id);
        note(append_one, std::move(parameters));
    }
    appended_ = true;
    return id;
}

MessageId Transaction::append(const Message& message, const outbox::Receipts& receipts) {
    HUFU_ASSERT(!over_);
    const Message asking = outbox::with_receipts(message, receipts);
    check(asking);
    const MessageId id = asking.id.is_nil() ? mint() : asking.id;
    if (options_.allow_asynchronous_commit && !appended_) note(allow_asynchronous, {});
    Parameters parameters;
    add_columns(parameters, asking, id);
    if (asking.deliver_at) {
        parameters.add_timestamp(*asking.deliver_at);
    } else {
        parameters.add_null();
    }
    parameters.add(encode(receipts));
    note(append_awaited, std::move(parameters));
    appended_ = true;
    return id;
}

void Transaction::append(std::span<Message> messages) {
    HUFU_ASSERT(!over_);
    if (messages.empty()) return;
    bool any_due = false;
    for (const auto& message : messages) {
        check(message);
        any_due = any_due || message.deliver_at;
    }
    for (auto& message : messages) {
        if (message.id.is_nil()) message.id = mint();
    }
    if (any_due || messages.size() == 1) {
        for (const auto& message : messages) append(message);
        return;
    }
    if (options_.allow_asynchronous_commit && !appended_) note(allow_asynchronous, {});
    const std::size_t count = messages.size();
    std::vector<MessageId> ids;
    std::vector<std::string> built;  // reserved whole: views into it must stay
    std::vector<std::string_view> topics, tags, keys, ordering_keys, headers, bodies;
    ids.reserve(count);
    built.reserve(2 * count);
    for (const auto& message : messages) {
        ids.push_back(message.id);
        topics.emplace_back(message.topic);
        tags.emplace_back(message.tag);
        keys.emplace_back(built.emplace_back(joined_keys(message.keys)));
        ordering_keys.emplace_back(message.ordering_key);
        headers.emplace_back(built.emplace_back(packed_headers(message.headers)));
        bodies.emplace_back(message.body);
    }
    Parameters parameters;
    parameters.add_uuid_array(ids)
        .add_text_array(topics)
        .add_text_array(tags)
        .add_text_array(keys)
        .add_text_array(ordering_keys)
        .add_bytea_array(headers)
        .add_bytea_array(bodies);
    note(append_many, std::move(parameters));
    appended_ = true;
}

Rows Transaction::fly(std::string_view last, const Parameters& parameters) {
    HUFU_ASSERT(!over_);
    std::vector<Step> steps;
    steps.reserve(noted_.size() + 2);
    if (!begun_) steps.push_back({.sql = "begin"});
    for (const auto& noted : noted_) {
        steps.push_back({.sql = noted.users_sql.empty() ? noted.own_sql : std::string_view{noted.users_sql},
                         .parameters = &noted.parameters});
    }
    steps.push_back({.sql = last, .parameters = &parameters});
    begun_ = true;
    Flight flight = connection_.fly(steps);
    noted_.clear();
    if (flight.failed) {
        roll_back();
        throw Exception{std::move(flight.error)};
    }
    return std::move(flight.answers.back());
}

Rows Transaction::query(std::string_view sql, const Parameters& parameters) { return fly(sql, parameters); }

void Transaction::commit() {
    if (!begun_ && noted_.empty()) {
        over_ = true;
        return;
    }
    fly("commit", {});
    over_ = true;
    if (appended_ && options_.wake != nullptr) options_.wake->wake();
}

void Transaction::roll_back() noexcept {
    if (over_) return;
    over_ = true;
    noted_.clear();
    if (!begun_ || !connection_.usable() || !connection_.in_transaction()) return;
    const Step step{.sql = "rollback"};
    (void)connection_.fly({&step, 1});  // a lost connection rolls back by itself
}

}  // namespace hufu::postgres
