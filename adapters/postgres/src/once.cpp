#include <hufu/postgres/once.hpp>

#include <pqxx/pqxx>

#include <memory>
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <hufu/outbox/receipts.hpp>
#include <hufu/postgres/outbox.hpp>

#include "effect_work.hpp"
#include "row.hpp"

namespace hufu::postgres {
namespace {

constexpr std::string_view about = "guarded effect";

std::string from_hex(std::string_view text) {
    const auto digit = [](char character) { return character <= '9' ? character - '0' : character - 'a' + 10; };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
    return bytes;
}

class Work final : public EffectWork, public idempotency::GuardRows {
public:
    /// `wait`: how long the guard row waits for another's transaction; none: the server's own limit.
    explicit Work(pqxx::connection& connection, std::optional<std::chrono::milliseconds> wait = {})
        : EffectWork{connection}, wait_{wait} {}

    Result<idempotency::GuardSeen> insert(const idempotency::GuardKey& key) override {
        return guarded<idempotency::GuardSeen>(Setting::in_transaction, about, [&]() -> Result<idempotency::GuardSeen> {
            const std::string group = work().quote(key.group);
            // The limit travels with the insert. It holds for the effect's own statements too.
            const auto rows = work().exec(
                limit() + "with mine as (insert into hufu.guard(consumer_group, message_id) values (" + group + ", '" +
                key.id.to_string() + "'::uuid) on conflict do nothing returning 1) select exists (select from mine)::int, " +
                "(select (extract(epoch from horizon) * 1000000)::bigint from hufu.guard_horizon where consumer_group = " +
                group + ")");
            // The row of another is visible to the next statement only: its transaction has just ended.
            if (rows[0][0].as<int>() == 0) return find(key);
            return idempotency::GuardSeen{false, {}, time_of(rows[0][1])};
        });
    }

    Result<idempotency::GuardSeen> find(const idempotency::GuardKey& key) override {
        return guarded<idempotency::GuardSeen>(Setting::in_transaction, about, [&]() -> Result<idempotency::GuardSeen> {
            const auto rows = work().exec_params(
                "select g.message_id is not null, encode(coalesce(g.result, ''), 'hex'), "
                "(select (extract(epoch from horizon) * 1000000)::bigint from hufu.guard_horizon where consumer_group = $1) "
                "from (select 1) one left join hufu.guard g on g.consumer_group = $1 and g.message_id = $2::uuid",
                key.group, key.id.to_string());
            return idempotency::GuardSeen{rows[0][0].as<bool>(), from_hex(rows[0][1].as<std::string>()),
                                          time_of(rows[0][2])};
        });
    }

    Result<void> keep_result(const idempotency::GuardKey& key, std::string_view result) override {
        return guarded<void>(Setting::in_transaction, about, [&]() -> Result<void> {
            work().exec_params(
                "update hufu.guard set result = $3::bytea where consumer_group = $1 and message_id = $2::uuid", key.group,
                key.id.to_string(), hex(result));
            return {};
        });
    }

private:
    [[nodiscard]] std::string limit() const {
        if (!wait_) return {};
        return "set local lock_timeout = " + std::to_string(std::max<std::int64_t>(wait_->count(), 1)) + "; ";
    }
    template <class Field>
    static SystemTime time_of(const Field& field) {
        return field.is_null() ? SystemTime{} : SystemTime{std::chrono::microseconds{field.template as<std::int64_t>()}};
    }

    std::optional<std::chrono::milliseconds> wait_;
};

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
    return guarded<Lent>(Setting::connecting, about, [&]() -> Result<Lent> {
        return Lent{*this, std::make_unique<pqxx::connection>(url_)};
    });
}

idempotency::OnceOutcome run_once(ConnectionPool& pool, const idempotency::GuardKey& key, SystemTime first_stored_at,
                                  const std::function<idempotency::EffectResult(pqxx::work&)>& effect) {
    auto lent = pool.lend();
    if (!lent) return {Handled::retry, {}, lent.error().text()};
    Work work{**lent};
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
    Work work{**lent, wait};
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

Handler once(const std::string& url, std::string group, Effect effect) {
    auto pool = std::make_shared<ConnectionPool>(url);
    return [pool, handler = once(*pool, std::move(group), std::move(effect))](const Delivery& delivery) {
        return handler(delivery);
    };
}

}  // namespace hufu::postgres
