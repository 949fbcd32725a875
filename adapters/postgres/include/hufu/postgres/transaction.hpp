// A transaction whose statements and messages travel to PostgreSQL together.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/message.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/outbox/wake.hpp>
#include <hufu/postgres/connection.hpp>

namespace hufu::postgres {

struct TransactionOptions {
    bool allow_asynchronous_commit = false;  ///< see OutboxOptions
    outbox::WakeHint* wake = nullptr;        ///< told after a commit that appended; borrowed
    MessageIdGenerator* ids = nullptr;       ///< mints nil ids; null: the connection's own
};

/// BEGIN, statements, appended messages and COMMIT as one flight: no round trip more than the bare transaction has.
/// `run` and `append` only note; `query` sends what is noted because its answer is needed now; `commit` sends the rest.
///
/// Not thread-safe. Borrows the connection, which must be outside a transaction and is free again after `commit`,
/// `roll_back` or destruction. Destroyed without `commit`: rolled back.
///
/// Throws Exception. After any throw the transaction is over and rolled back, except from `append` with `reject` (nothing
/// was noted; go on or give up). From `commit`, `in_doubt` means that the connection was lost at COMMIT: it may have
/// happened, look for the business row before repeating.
class Transaction {
public:
    explicit Transaction(Connection& connection, const TransactionOptions& options = {});
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    /// Notes a statement whose answer is not needed. `parameters("text", 5)` makes the second argument.
    void run(std::string_view sql, Parameters parameters = {});
    /// Sends what is noted and this, and waits for this answer.
    Rows query(std::string_view sql, const Parameters& parameters = {});
    /// Notes a message; returns its id. The order within the transaction is the order of calls.
    MessageId append(const Message& message);
    /// Notes a message that asks for receipts; see `Outbox::append`.
    MessageId append(const Message& message, const outbox::Receipts& receipts);
    /// Notes several, cheaper than one by one. Ids that are nil are minted and written into `messages`.
    void append(std::span<Message> messages);
    void commit();
    void roll_back() noexcept;

private:
    struct Noted {
        std::string users_sql;
        std::string_view own_sql;  // of this library: lives as long as the program
        Parameters parameters;
    };
    void note(std::string_view own_sql, Parameters parameters);
    Rows fly(std::string_view last, const Parameters& parameters);
    MessageId mint();

    Connection& connection_;
    TransactionOptions options_;
    std::vector<Noted> noted_;
    bool begun_ = false;
    bool over_ = false;
    bool appended_ = false;
};

}  // namespace hufu::postgres
