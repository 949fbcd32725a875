// One effect per message and group, without a round trip for the guard: it travels with the effect.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <hufu/core/handler.hpp>
#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/http.hpp>
#include <hufu/idempotency/once.hpp>
#include <hufu/postgres/connection.hpp>
#include <hufu/postgres/transaction.hpp>

namespace hufu::postgres {

/// Connections for flights, opened when needed, kept for reuse. Thread-safe. Outlives what it has lent.
class FlightPool {
public:
    explicit FlightPool(std::string url, ConnectionOptions options = {}) : url_{std::move(url)}, options_{options} {}
    [[nodiscard]] const std::string& url() const noexcept { return url_; }

    Result<std::unique_ptr<Connection>> take();
    /// Keeps it if it is usable and outside a transaction.
    void give_back(std::unique_ptr<Connection> connection);

private:
    std::string url_;
    ConnectionOptions options_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
};

/// What a user writes: `run`s statements, `append`s messages, says how it went. What `tx.query` throws must pass through: a
/// duplicate is found there, at the latest at the commit. Must neither commit nor roll back.
using FlightEffect = std::function<idempotency::EffectResult(Transaction&, const Message&)>;

/// `once` of once.hpp (grade effect_once, same table, same horizon) for effects on `Transaction`: BEGIN, guard row, the
/// effect's statements and COMMIT are one flight where the effect asks for no answers, so the guard costs no round trip. The
/// guard stands first: the server skips the rest for a duplicate.
///
/// The handler may run on many threads at once. `pool` outlives it.
[[nodiscard]] Handler once_in_flight(FlightPool& pool, std::string group, FlightEffect effect,
                                     TransactionOptions options = {});

/// With a window that is checked, as in once.hpp.
[[nodiscard]] Handler once_in_flight(FlightPool& pool, const idempotency::GuardDeclaration& declaration, FlightEffect effect,
                                     TransactionOptions options = {});

/// The same for one message, with the stored result.
[[nodiscard]] idempotency::OnceOutcome run_once_in_flight(
    FlightPool& pool, const idempotency::GuardKey& key, SystemTime first_stored_at,
    const std::function<idempotency::EffectResult(Transaction&)>& effect, const TransactionOptions& options = {});

/// `answer_once` of once.hpp (same rows, same answers) for an application on `Transaction`: guard row, its statements, its
/// answer and COMMIT are one flight where it asks for nothing. A repeated request is then found out after `application` has
/// returned; its reply is dropped and the first one's given. What `tx.query` throws must pass through.
///
/// Throws what `application` throws, and Exception with `reject` where the database refuses one of its statements; nothing has
/// changed then.
[[nodiscard]] idempotency::HttpReply answer_once(FlightPool& pool, const idempotency::HttpGuard& edge,
                                                 const idempotency::HttpCall& call, std::chrono::milliseconds wait,
                                                 const std::function<idempotency::HttpReply(Transaction&)>& application,
                                                 const TransactionOptions& options = {});

}  // namespace hufu::postgres
