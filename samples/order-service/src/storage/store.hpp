// The one port behind which the services' databases stand.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/beast/http_guard.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/message.hpp>
#include <hufu/idempotency/grade.hpp>

namespace hufu::outbox {
class Store;
}
namespace hufu::txmsg {
class HalfPublisher;
}

namespace shop {

/// A statement's parameter. Travels as text; the column's type decides what it becomes.
class Value {
public:
    Value(std::int64_t number)
        : text_{std::to_string(number)} {}           // NOLINT(google-explicit-constructor): run(sql, {1, "tea"})
    Value(std::string_view text) : text_{text} {}    // NOLINT(google-explicit-constructor)
    Value(const std::string& text) : text_{text} {}  // NOLINT(google-explicit-constructor)
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

class Row {
public:
    explicit Row(std::vector<std::string> columns) : columns_{std::move(columns)} {}
    [[nodiscard]] const std::string& text(std::size_t column) const { return columns_.at(column); }
    [[nodiscard]] std::int64_t integer(std::size_t column) const { return std::stoll(columns_.at(column)); }

private:
    std::vector<std::string> columns_;
};

using Rows = std::vector<Row>;

/// An open transaction. What runs in it commits together with the messages appended in it. For one thread.
class Transaction {
public:
    virtual ~Transaction() = default;
    /// Runs one statement with parameters `$1`, `$2` … that first appear in this order. Throws `hufu::Exception`.
    virtual Rows run(std::string_view sql, std::initializer_list<Value> values = {}) = 0;
    /// Sends `message` if, and only if, this transaction commits.
    virtual void append(const hufu::Message& message) = 0;
    /// What to put behind a `select` so that the row stays as read until the end of the transaction.
    [[nodiscard]] virtual std::string_view row_lock() const noexcept = 0;
};

/// What a message does to the database, inside the guard's transaction.
using Effect = std::function<hufu::HandlerResult(Transaction&, const hufu::Message&)>;

/// A service's own database, with its outbox and its guards. Thread-safe.
class Store {
public:
    virtual ~Store() = default;
    /// Creates what is missing: `tables` (with `{serial}` for a key that counts up), outbox and guards.
    virtual void prepare(std::span<const std::string_view> tables) = 0;
    /// Runs `work` in one transaction and commits. `work` runs again from its start where the database asks for that
    /// (deadlock, lost connection before the commit), so it changes nothing but the transaction.
    virtual void transact(const std::function<void(Transaction&)>& work) = 0;
    /// From now on `send` goes through `halves` (borrowed until the store's end), and this process answers what the broker
    /// asks about transactions of `group`. After `prepare`.
    virtual void send_through(hufu::txmsg::HalfPublisher& halves, const std::string& group) = 0;
    /// Commits `work` in one transaction and makes `messages` visible, or neither: a transaction message, nothing is written
    /// to the outbox. False when `work` returned false, which takes everything back. One attempt: throws `hufu::Exception`
    /// when it was not committed, or (`in_doubt`) when that is not known; the broker settles both the same way.
    virtual bool send(std::vector<hufu::Message> messages, const std::function<bool(Transaction&)>& work) = 0;
    /// Runs `work`, which only reads, on one snapshot.
    virtual void read(const std::function<void(Transaction&)>& work) = 0;
    /// How requests with a key are answered: the key's row, what the application changes and its answer commit together.
    /// `edge` outlives what is returned.
    [[nodiscard]] virtual hufu::beast::Guarding<Transaction&> answering(const hufu::idempotency::HttpGuard& edge) = 0;
    /// Wraps `effect` so that it happens once per message and group, however often the message comes. Throws
    /// `hufu::Exception` when `guard` forgets a message before its last duplicate can come.
    [[nodiscard]] virtual hufu::Handler once(const hufu::idempotency::GuardDeclaration& guard, Effect effect) = 0;
    /// The outbox, for a relay. Lives no longer than the store.
    [[nodiscard]] virtual std::unique_ptr<hufu::outbox::Store> outbox() = 0;
};

/// `sqlite:/path/orders.db` or `postgresql://…`. Throws `hufu::Exception` that names what is not there.
[[nodiscard]] std::unique_ptr<Store> open_store(const std::string& url);

}  // namespace shop
