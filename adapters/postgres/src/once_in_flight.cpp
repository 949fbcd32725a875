#include <hufu/postgres/once_in_flight.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <hufu/outbox/receipts.hpp>

namespace hufu::postgres {
namespace {

using idempotency::GuardKey;
using idempotency::OnceOutcome;

/// A plain insert, so a duplicate is a unique violation, which makes the server skip the rest of the flight: it needs less index
/// work and log than ON CONFLICT, and no call of a function. The horizon is looked at after the row is there, and only for
/// messages that are old enough: it is never later than `shortest_retention` less `clock_allowance` ago.
constexpr std::string_view guard_first =
    "insert into hufu.guard(consumer_group, message_id) values ($1::text, $2::uuid) "
    "returning case when $3::timestamptz > clock_timestamp() - interval '50 minutes' then true "
    "else hufu.guard_within_horizon($1::text, $2::uuid, $3::timestamptz) end";
static_assert(idempotency::shortest_retention - 2 * idempotency::clock_allowance >= std::chrono::minutes{50});
constexpr std::string_view limit_wait = "select set_config('lock_timeout', $1::text, true)";
constexpr std::string_view keep_result =
    "update hufu.guard set result = $3::bytea where consumer_group = $1::text and message_id = $2::uuid";
constexpr std::string_view find_result =
    "select result from hufu.guard where consumer_group = $1::text and message_id = $2::uuid";

Parameters key_parameters(const GuardKey& key) {
    Parameters parameters;
    parameters.add(key.group).add_uuid(key.id);
    return parameters;
}

OnceOutcome outcome_of(const Error& error) {
    OnceOutcome outcome{error.disposition() == Disposition::reject ? Handled::reject : Handled::retry, {}, error.text()};
    outcome.error = error;
    return outcome;
}

/// A conflict is the guard's or one of the effect's own unique keys; the committed guard row tells.
OnceOutcome settle(Connection& connection, const GuardKey& key, const Error& error) {
    if (error.code() != ErrorCode::conflict) return outcome_of(error);
    // The server may have died right after it said so: whose conflict it was, the next delivery finds out.
    if (!connection.usable()) return {Handled::retry, {}, error.text()};
    const auto found = connection.run(find_result, key_parameters(key));
    if (!found) return outcome_of(found.error());
    if (found->size() == 0) return outcome_of(error);
    return {Handled::already_done, std::string{found->text(0, 0)}};
}

using FlightWork = std::function<idempotency::EffectResult(Transaction&)>;

/// `wait`: how long the guard row waits for another's transaction; none: the server's own limit.
OnceOutcome run_on(Connection& connection, const GuardKey& key, SystemTime first_stored_at, const FlightWork& effect,
                   const TransactionOptions& options, std::optional<std::chrono::milliseconds> wait) {
    Transaction tx{connection, options};
    try {
        if (wait) tx.run(limit_wait, parameters(std::max<std::int64_t>(wait->count(), 1)));
        auto first = key_parameters(key);
        first.add_timestamp(first_stored_at);
        tx.run(guard_first, std::move(first));
        auto result = effect(tx);
        if (result.handled == Handled::retry || result.handled == Handled::reject) {
            tx.roll_back();
            return result;
        }
        if (!result.result.empty()) {
            auto kept = key_parameters(key);
            kept.add_binary(result.result);
            tx.run(keep_result, std::move(kept));
        }
        tx.commit();
        return result;
    } catch (const Exception& failure) {
        tx.roll_back();
        return settle(connection, key, failure.error());
    }
}

struct Lent {
    FlightPool& pool;
    std::unique_ptr<Connection> connection;
    ~Lent() { pool.give_back(std::move(connection)); }
};

/// A receipt by itself, as in once.cpp.
HandlerResult with_receipt(FlightPool& pool, const Message& receipt, OnceOutcome outcome,
                           const TransactionOptions& options) {
    auto connection = pool.take();
    if (!connection) return {Handled::retry, connection.error().text()};
    try {
        Transaction tx{**connection, options};
        tx.append(receipt);
        tx.commit();
    } catch (const Exception& failure) {
        return {Handled::retry, failure.error().text()};
    }
    pool.give_back(std::move(*connection));
    return {outcome.handled, std::move(outcome.reason)};
}

}  // namespace

Result<std::unique_ptr<Connection>> FlightPool::take() {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            auto connection = std::move(idle_.back());
            idle_.pop_back();
            return connection;
        }
    }
    return Connection::open(url_, options_);
}

void FlightPool::give_back(std::unique_ptr<Connection> connection) {
    if (connection == nullptr || !connection->usable() || connection->in_transaction()) return;
    const std::lock_guard lock{mutex_};
    idle_.push_back(std::move(connection));
}

OnceOutcome run_once_in_flight(FlightPool& pool, const GuardKey& key, SystemTime first_stored_at, const FlightWork& effect,
                               const TransactionOptions& options) {
    auto connection = pool.take();
    if (!connection) return outcome_of(connection.error());
    const Lent lent{pool, std::move(*connection)};
    return run_on(*lent.connection, key, first_stored_at, effect, options, {});
}

idempotency::HttpReply answer_once(FlightPool& pool, const idempotency::HttpGuard& edge, const idempotency::HttpCall& call,
                                   std::chrono::milliseconds wait,
                                   const std::function<idempotency::HttpReply(Transaction&)>& application,
                                   const TransactionOptions& options) {
    auto question = edge.read(call);
    if (question.refused()) return *question.refused();
    auto connection = pool.take();
    if (!connection) return question.answer(outcome_of(connection.error()));
    const Lent lent{pool, std::move(*connection)};
    if (!question.guarded()) {
        Transaction tx{*lent.connection, options};
        auto reply = application(tx);
        if (reply.status < 500) tx.commit();
        return reply;
    }
    const auto outcome = run_on(
        *lent.connection, question.guard_key(), system_clock().system_now(),
        [&](Transaction& tx) { return question.keep(application(tx)); }, options, wait);
    if (!outcome.error) return question.answer(outcome);
    if (outcome.handled == Handled::reject) throw Exception{*outcome.error};
    // The application's reply is of a transaction that did not commit.
    return edge.read(call).answer(outcome);
}

Handler once_in_flight(FlightPool& pool, std::string group, FlightEffect effect, TransactionOptions options) {
    return
        [&pool, group = std::move(group), effect = std::move(effect), options](const Delivery& delivery) -> HandlerResult {
            const outbox::ReceiptDuty duty{group, delivery.message};
            // Of what a duplicate's transaction noted nothing was committed, so `already_done` owes a receipt of its own
            // unless the effect itself said so.
            bool by_effect = false;
            auto outcome = run_once_in_flight(
                pool, {group, delivery.message.id}, idempotency::first_stored_at(delivery),
                [&](Transaction& tx) {
                    auto result = effect(tx, delivery.message);
                    if (const auto receipt = duty.with_effect(result.handled)) tx.append(*receipt);
                    by_effect = result.handled == Handled::already_done;
                    return result;
                },
                options);
            if (const auto receipt = duty.afterwards(outcome.handled, outcome.reason, by_effect))
                return with_receipt(pool, *receipt, std::move(outcome), options);
            return {outcome.handled, std::move(outcome.reason)};
        };
}

Handler once_in_flight(FlightPool& pool, const idempotency::GuardDeclaration& declaration, FlightEffect effect,
                       TransactionOptions options) {
    idempotency::check(declaration).value();
    return once_in_flight(pool, declaration.group, std::move(effect), std::move(options));
}

}  // namespace hufu::postgres
