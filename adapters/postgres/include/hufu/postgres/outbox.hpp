// Appending messages in the caller's own pqxx transaction.
#pragma once

#include <span>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/random.hpp>
#include <hufu/outbox/receipts.hpp>

namespace pqxx {
class transaction_base;
}

namespace hufu::postgres {

struct OutboxOptions {
    /// Accept appends in transactions with synchronous_commit = off. A crash of the server may then take back a business
    /// change whose message was delivered.
    bool allow_asynchronous_commit = false;
};

/// Writes messages beside business rows: they are sent if and only if the caller's transaction commits. Call after the
/// business rows that decide the order (of an ordering key) are locked or written: order of messages is order of appends
/// under those locks.
///
/// Thread-safe (transactions are not: one thread each). Borrows clock and random for its life, the transaction for the
/// call; never commits or rolls back. Every function throws `Exception` on failure (`reject` for a message that can never be
/// taken, `abort_transaction` where the database refused), so that an unnoticed failure rolls the business back. Where it
/// throws `reject` before anything was sent the transaction can go on.
class Outbox {
public:
    explicit Outbox(OutboxOptions options = {}, Clock& clock = system_clock(), Random& random = system_random());

    /// One round trip. Returns the message's id, minted here if it was nil.
    MessageId append(pqxx::transaction_base& transaction, const Message& message);
    /// As above, and asks the consumers for receipts: the message stays in the book until every group has confirmed, and is
    /// sent again meanwhile. A message id can be awaited once (`conflict`/abort_transaction for the second).
    MessageId append(pqxx::transaction_base& transaction, const Message& message, const outbox::Receipts& receipts);
    /// All in one round trip, in order. Ids that are nil are minted and written into `messages`.
    void append(pqxx::transaction_base& transaction, std::span<Message> messages);

private:
    OutboxOptions options_;
    MessageIdGenerator ids_;
};

}  // namespace hufu::postgres
