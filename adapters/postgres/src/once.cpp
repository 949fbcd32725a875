#include <hufu/postgres/once.hpp>

#include <pqxx/pqxx>

#include <memory>
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <hufu/outbox/receipts.hpp>
#include <hufu/postgres/outbox.hpp>

#include "guard_work.hpp"

namespace hufu::postgres {
namespace {

/// A receipt by itself: for a duplicate, whose effect is committed already, and for a refusal, which has none. Where it cannot
/// be written the delivery has to come again.
HandlerResult with_receipt(ConnectionPool& pool, Outbox& outbox, const Message& receipt, idempotency::OnceOutcome outcome) {
    auto lent = pool.lend();
    if (!lent) return {Handled::retry, lent.error().text()};
    const auto written = guarded<void>(Setting::committing, "receipt", [&]() -> Result<void> {
        pqxx::work work{**lent};
        outbox.append(work, receipt);
        work.commit();
        return {};
    });
    if (!written) return {Handled::retry, written.error().text()};
    return {outcome.handled, std::move(outcome.reason)};
}

}  // namespace

ConnectionPool::ConnectionPool(std::string url) : url_{std::move(url)} {}
ConnectionPool::~ConnectionPool() = default;

ConnectionPool::Lent::Lent(ConnectionPool& pool, std::unique_ptr<pqxx::connection> connection)
    : pool_{&pool}, connection_{std::move(connection)} {}

ConnectionPool::Lent::~Lent() {
    if (connection_ == nullptr || !connection_->is_open()) return;
    const std::lock_guard lock{pool_->mutex_};
    pool_->idle_.push_back(std::move(connection_));
}

Result<ConnectionPool::Lent> ConnectionPool::lend() {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            auto connection = std::move(idle_.back());
            idle_.pop_back();
            return Lent{*this, std::move(connection)};
        }
    }
    return guarded<Lent>(Setting::connecting, guard_about, [&]() -> Result<Lent> {
        return Lent{*this, std::make_unique<pqxx::connection>(url_)};
    });
}

idempotency::OnceOutcome run_once(ConnectionPool& pool, const idempotency::GuardKey& key, SystemTime first_stored_at,
                                  const std::function<idempotency::EffectResult(pqxx::work&)>& effect) {
    auto lent = pool.lend();
    if (!lent) return {Handled::retry, {}, lent.error().text()};
    GuardWork work{**lent};
    return idempotency::run_once(idempotency::OnceMachine{key, first_stored_at}, work, work,
                                 [&] { return effect(work.work()); });
}

idempotency::HttpReply answer_once(ConnectionPool& pool, const idempotency::HttpGuard& edge,
                                   const idempotency::HttpCall& call, std::chrono::milliseconds wait,
                                   const std::function<idempotency::HttpReply(pqxx::work&)>& application) {
    auto question = edge.read(call);
    if (question.refused()) return *question.refused();
    auto lent = pool.lend();
    if (!lent) return question.answer(idempotency::OnceOutcome{Handled::retry, {}, lent.error().text()});
    if (!question.guarded()) {
        pqxx::work tx{**lent};
        auto reply = application(tx);
        if (reply.status < 500) tx.commit();
        return reply;
    }
    GuardWork work{**lent, wait};
    return question.answer(idempotency::run_once(idempotency::OnceMachine{question.guard_key(), system_clock().system_now()},
                                                 work, work, [&] { return question.keep(application(work.work())); }));
}

Handler once(ConnectionPool& pool, std::string group, Effect effect) {
    return [&pool, group = std::move(group), effect = std::move(effect),
            outbox = std::make_shared<Outbox>()](const Delivery& delivery) -> HandlerResult {
        const outbox::ReceiptDuty duty{group, delivery.message};
        const idempotency::GuardKey key{group, delivery.message.id};
        bool written = false;
        auto outcome = run_once(pool, key, idempotency::first_stored_at(delivery), [&](pqxx::work& work) {
            auto result = effect(work, delivery.message);
            if (const auto receipt = duty.with_effect(result.handled)) {
                outbox->append(work, *receipt);
                written = true;
            }
            return result;
        });
        if (const auto receipt = duty.afterwards(outcome.handled, outcome.reason, written))
            return with_receipt(pool, *outbox, *receipt, std::move(outcome));
        return {outcome.handled, std::move(outcome.reason)};
    };
}

Handler once(ConnectionPool& pool, const idempotency::GuardDeclaration& declaration, Effect effect) {
    idempotency::check(declaration).value();
    return once(pool, declaration.group, std::move(effect));
}

Effect sending(std::string group, Process process, OutboxOptions options) {
    return [group = std::move(group), process = std::move(process), outbox = std::make_shared<Outbox>(options)](
               pqxx::work& work, const Message& message) {
        idempotency::Outgoing outgoing{group, message};
        auto result = process(work, message, outgoing);
        // Nothing of a failed effect is sent; `already_done` is committed like `done`.
        if (result.handled == Handled::done || result.handled == Handled::already_done)
            outbox->append(work, outgoing.messages());
        return result;
    };
}

Handler once(ConnectionPool& pool, std::string group, Process process, OutboxOptions options) {
    auto effect = sending(group, std::move(process), options);
    return once(pool, std::move(group), std::move(effect));
}

Handler once(const std::string& url, std::string group, Effect effect) {
    auto pool = std::make_shared<ConnectionPool>(url);
    return [pool, handler = once(*pool, std::move(group), std::move(effect))](const Delivery& delivery) {
        return handler(delivery);
    };
}

}  // namespace hufu::postgres
