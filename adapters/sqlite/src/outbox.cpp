#include <hufu/sqlite/outbox.hpp>

#include <sqlite3.h>

#include <string>
#include <utility>

#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

constexpr std::string_view into_lane =
    "insert into hufu_outbox(" HUFU_MESSAGE_COLUMNS ") values (" HUFU_MESSAGE_PARAMETERS ")";
constexpr std::string_view into_delayed =
    "insert into hufu_delayed(" HUFU_MESSAGE_COLUMNS ", due_at_us) values (" HUFU_MESSAGE_PARAMETERS ", ?)";

std::string_view bytes_of(const MessageId& id) {
    return {reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()};
}

/// The commonest mistake at first use deserves better than "no such table".
void throw_with_way_out(sqlite3* handle, const Exception& exception) {
    if (std::string_view{exception.what()}.find("no such table: hufu_") == std::string_view::npos) {
        return;
    }
    const char* path = sqlite3_db_filename(handle, "main");
    const std::string name = path != nullptr ? path : "";
    throw Exception{Error{ErrorCode::wrong_version, Disposition::fatal,
                          "database \"" + name + "\" has no outbox: run \"hufu outbox migrate --outbox sqlite:" + name +
                              "\", or call hufu::sqlite::migrate at start"}};
}

}  // namespace

MessageId Outbox::append(Message& message, const auto& prepare) {
    validate(message).value();
    const auto now = clock_.system_now();
    if (message.id.is_nil()) {
        message.id = ids_.next();
    }
    message.headers.set(header::committed_at, std::to_string(microseconds_of(now)));
    const bool delayed = message.deliver_at && *message.deliver_at > now;
    const auto keys = joined_keys(message.keys);
    const auto headers = packed_headers(message.headers);
    const auto insert = [&](Statement statement, const auto&... more) {
        statement
            .bind(Blob{bytes_of(message.id)}, microseconds_of(now), message.topic, message.tag, keys, message.ordering_key,
                  Blob{headers}, Blob{message.body}, more...)
            .run();
    };
    if (delayed) {
        insert(prepare(into_delayed), microseconds_of(*message.deliver_at));
    } else {
        insert(prepare(into_lane));
    }
    return message.id;
}

MessageId Outbox::append(Transaction& transaction, Message message) {
    try {
        const auto id = append(message, [&](std::string_view sql) { return transaction.prepare(sql); });
        transaction.mark_appended();
        return id;
    } catch (const Exception& exception) {
        throw_with_way_out(transaction.handle(), exception);
        throw;
    }
}

MessageId Outbox::append(Transaction& transaction, Message message, const outbox::Receipts& receipts) {
    message = outbox::with_receipts(std::move(message), receipts);
    if (message.id.is_nil()) message.id = ids_.next();
    const auto id = append(transaction, message);
    message.headers.set(header::committed_at, std::to_string(microseconds_of(clock_.system_now())));
    std::string groups;
    for (const auto& group : receipts.groups) groups += (groups.empty() ? "" : ",") + group;
    transaction.execute(
        "insert into hufu_awaiting(" HUFU_MESSAGE_COLUMNS ", asked, groups) values (" HUFU_MESSAGE_PARAMETERS ", ?, ?)",
        Blob{bytes_of(id)}, microseconds_of(clock_.system_now()), message.topic, message.tag, joined_keys(message.keys),
        message.ordering_key, Blob{packed_headers(message.headers)}, Blob{message.body}, encode(receipts), groups);
    return id;
}

MessageId Outbox::append(sqlite3* handle, Message message) {
    if (handle == nullptr || sqlite3_get_autocommit(handle) != 0) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              "append to topic \"" + message.topic +
                                  "\" needs an open transaction on the connection: run BEGIN IMMEDIATE first, so that the "
                                  "message commits with your rows"}};
    }
    try {
        return append(message, [&](std::string_view sql) { return Statement{handle, sql}; });
    } catch (const Exception& exception) {
        throw_with_way_out(handle, exception);
        throw;
    }
}

}  // namespace hufu::sqlite
