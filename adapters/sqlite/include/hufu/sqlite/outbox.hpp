// Appending messages to the outbox of a SQLite file, in the caller's transaction.
#pragma once

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/random.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// Writes messages into the transaction that writes the business rows: both commit, or neither does. A relay hands them
/// to the broker afterwards, at least once; messages of one topic and ordering key go in the order of these calls.
///
/// Thread-safe; borrows clock and random for its life. The file must have Hufu's tables (`migrate`).
class Outbox {
public:
    explicit Outbox(Clock& clock = system_clock(), Random& random = system_random()) : clock_{clock}, ids_{clock, random} {}

    /// Appends `message` and returns its id (minted here if nil). A `deliver_at` in the future keeps it back until then,
    /// and ends its place in the order. Sets the header `hufu-committed-at-us`.
    ///
    /// Throws `hufu::Exception`, so that an ignored failure cannot commit business rows without their message:
    /// `invalid_argument` (see `validate`), `wrong_version` (no tables), or what SQLite reports. Roll back then.
    MessageId append(Transaction& transaction, Message message);

    /// As above, and asks the consumers for receipts: the message stays in the book until every group has confirmed, and is
    /// sent again meanwhile. A message id can be awaited once (`conflict` for the second).
    MessageId append(Transaction& transaction, Message message, const outbox::Receipts& receipts);

    /// As the first, in a transaction that the caller began on a connection of his own; neither commits nor closes anything.
    /// Throws `invalid_argument` when no transaction is open there. After COMMIT, `Database::announce_append` saves the
    /// relay's polling delay.
    MessageId append(sqlite3* handle, Message message);

private:
    MessageId append(Message& message, const auto& prepare);

    Clock& clock_;
    MessageIdGenerator ids_;
};

}  // namespace hufu::sqlite
