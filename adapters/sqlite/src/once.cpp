#include <hufu/sqlite/once.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/idempotency/once_batch.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/sqlite/outbox.hpp>

#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

using idempotency::GuardKey;
using idempotency::GuardSeen;
using idempotency::OnceMachine;
using idempotency::OnceOutcome;

Blob id_blob(const MessageId& id) { return Blob{{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}}; }

/// One transaction at a time on the file, seen as the two ports of the guard.
class GuardedTransaction final : public idempotency::EffectTransaction, public idempotency::GuardRows {
public:
    explicit GuardedTransaction(Database& database) : database_{database} {}

    Result<void> begin() override {
        return caught<void>([&] { transaction_.emplace(database_); });
    }
    Result<void> commit() override {
        return caught<void>([&] { transaction_->commit(); });
    }
    void roll_back() noexcept override { transaction_.reset(); }

    Result<GuardSeen> insert(const GuardKey& key) override {
        return caught<GuardSeen>([&]() -> Result<GuardSeen> {
            const auto inserted = transaction_->execute(
                "insert into hufu_guard(consumer_group, message_id, seen_at_us, result) values (?, ?, ?, x'') "
                "on conflict do nothing",
                key.group, id_blob(key.id), microseconds_of(database_.clock().system_now()));
            return inserted == 1 ? GuardSeen{false, {}, horizon(key.group)} : find(key);
        });
    }

    Result<GuardSeen> find(const GuardKey& key) override {
        return caught<GuardSeen>([&]() -> Result<GuardSeen> {
            auto rows = transaction_->query("select result from hufu_guard where consumer_group = ? and message_id = ?",
                                            key.group, id_blob(key.id));
            if (rows.step()) {
                return GuardSeen{true, rows.text(0), horizon(key.group)};
            }
            return GuardSeen{false, {}, horizon(key.group)};
        });
    }

    Result<void> keep_result(const GuardKey& key, std::string_view result) override {
        return caught<void>([&] {
            transaction_->execute("update hufu_guard set result = ? where consumer_group = ? and message_id = ?",
                                  Blob{result}, key.group, id_blob(key.id));
        });
    }

    Transaction& transaction() { return *transaction_; }

private:
    SystemTime horizon(const std::string& group) {
        auto rows = transaction_->query("select horizon_us from hufu_guard_horizon where consumer_group = ?", group);
        return rows.step() ? time_of(rows.integer(0)) : SystemTime{};
    }

    Database& database_;
    std::optional<Transaction> transaction_;
};

/// A receipt by itself: for a duplicate, whose effect is committed already, and for a refusal, which has none. Where it cannot
/// be written the delivery has to come again.
HandlerResult with_receipt(Database& database, Outbox& outbox, const Message& receipt, OnceOutcome outcome) {
    const auto written = caught<void>([&] {
        Transaction transaction{database};
        outbox.append(transaction, receipt);
        transaction.commit();
    });
    if (!written) return {Handled::retry, written.error().text()};
    return {outcome.handled, std::move(outcome.reason)};
}

}  // namespace

OnceOutcome run_once(Database& database, const GuardKey& key, SystemTime first_stored_at,
                     const std::function<idempotency::EffectResult(Transaction&)>& effect) {
    GuardedTransaction guarded{database};
    return idempotency::run_once(OnceMachine{key, first_stored_at}, guarded, guarded,
                                 [&] { return effect(guarded.transaction()); });
}

Handler once(Database& database, std::string group, Effect effect) {
    HUFU_ASSERT(!group.empty() && effect);
    return [&database, group = std::move(group), effect = std::move(effect),
            outbox = std::make_shared<Outbox>(database.clock())](const Delivery& delivery) -> HandlerResult {
        const outbox::ReceiptDuty duty{group, delivery.message};
        bool written = false;
        auto outcome = run_once(database, GuardKey{group, delivery.message.id}, idempotency::first_stored_at(delivery),
                                [&](Transaction& transaction) {
                                    auto result = effect(transaction, delivery.message);
                                    if (const auto receipt = duty.with_effect(result.handled)) {
                                        outbox->append(transaction, *receipt);
                                        written = true;
                                    }
                                    return result;
                                });
        if (const auto receipt = duty.afterwards(outcome.handled, outcome.reason, written))
            return with_receipt(database, *outbox, *receipt, std::move(outcome));
        return {outcome.handled, std::move(outcome.reason)};
    };
}

Effect sending(std::string group, Process process) {
    return [group = std::move(group), process = std::move(process)](Transaction& transaction, const Message& message) {
        idempotency::Outgoing outgoing{group, message};
        auto result = process(transaction, message, outgoing);
        // Nothing of a failed effect is sent; `already_done` is committed like `done`.
        if (result.handled == Handled::done || result.handled == Handled::already_done) {
            Outbox outbox{transaction.database().clock()};
            for (const auto& one : outgoing.messages()) outbox.append(transaction, one);
        }
        return result;
    };
}

Handler once(Database& database, std::string group, Process process) {
    auto effect = sending(group, std::move(process));
    return once(database, std::move(group), std::move(effect));
}

BatchHandler once_batch(Database& database, std::string group, Effect effect) {
    auto alone = once(database, group, effect);
    return [&database, group = std::move(group), effect = std::move(effect), alone = std::move(alone),
            outbox = std::make_shared<Outbox>(database.clock())](std::span<const Delivery* const> batch) {
        GuardedTransaction guarded{database};
        const auto run = [&](std::size_t place) {
            const auto& message = batch[place]->message;
            auto result = effect(guarded.transaction(), message);
            const outbox::ReceiptDuty duty{group, message};
            if (const auto receipt = duty.with_effect(result.handled)) outbox->append(guarded.transaction(), *receipt);
            return result;
        };
        return idempotency::run_once_batch(group, batch, {guarded, guarded, run, alone});
    };
}

BatchHandler once_batch(Database& database, std::string group, Process process) {
    auto effect = sending(group, std::move(process));
    return once_batch(database, std::move(group), std::move(effect));
}

idempotency::HttpReply answer_once(Database& database, const idempotency::HttpGuard& edge, const idempotency::HttpCall& call,
                                   const std::function<idempotency::HttpReply(Transaction&)>& application) {
    auto question = edge.read(call);
    if (question.refused()) return *question.refused();
    if (!question.guarded()) {
        Transaction transaction{database};
        auto reply = application(transaction);
        if (reply.status < 500) transaction.commit();
        return reply;
    }
    return question.answer(run_once(database, question.guard_key(), database.clock().system_now(),
                                    [&](Transaction& transaction) { return question.keep(application(transaction)); }));
}

Handler once(Database& database, const idempotency::GuardDeclaration& declaration, Effect effect) {
    idempotency::check(declaration).value();
    return once(database, declaration.group, std::move(effect));
}

Result<Purged> purge_guards(Database& database, const std::string& group, std::chrono::hours retention) {
    return purge_guards(database, {.group = group,
                                   .window = retention,
                                   .duplicates = {.retry = RetrySchedule::ladder({std::chrono::milliseconds{0}})}});
}

Result<Purged> purge_guards(Database& database, const idempotency::GuardDeclaration& declaration) {
    if (const auto fine = idempotency::check_retention(declaration); !fine) return fine.error();
    return caught<Purged>([&]() -> Result<Purged> {
        constexpr std::int64_t rows_per_transaction = 500;
        const std::string& group = declaration.group;
        const auto cut = database.clock().system_now() - declaration.window;
        Purged purged;
        {
            // The horizon first: a crash after it rejects too much, never too little.
            Transaction tx{database};
            tx.execute(
                "insert into hufu_guard_horizon(consumer_group, horizon_us) values (?, ?) "
                "on conflict do update set horizon_us = max(horizon_us, excluded.horizon_us)",
                group, microseconds_of(cut + clock_allowance));
            auto rows = tx.query("select horizon_us from hufu_guard_horizon where consumer_group = ?", group);
            rows.step();
            purged.horizon = time_of(rows.integer(0));
            tx.commit();
        }
        for (;;) {
            std::vector<MessageId> old;
            {
                // Found in a read, so that looking through a large table keeps no writer waiting.
                Transaction tx{database, Transaction::Access::read};
                auto rows = tx.query("select message_id from hufu_guard where consumer_group = ? and seen_at_us < ? limit ?",
                                     group, microseconds_of(cut), rows_per_transaction);
                while (rows.step()) {
                    old.push_back(id_at(rows, 0));
                }
            }
            if (old.empty()) {
                return purged;
            }
            Transaction tx{database};
            for (const auto& id : old) {
                purged.rows += static_cast<std::uint64_t>(
                    tx.execute("delete from hufu_guard where consumer_group = ? and message_id = ?", group, id_blob(id)));
            }
            tx.commit();
        }
    });
}

Result<std::vector<std::string>> guard_groups(Database& database) {
    return caught<std::vector<std::string>>([&]() -> Result<std::vector<std::string>> {
        Transaction tx{database, Transaction::Access::read};
        auto rows = tx.query("select distinct consumer_group from hufu_guard order by 1 limit 1000");
        std::vector<std::string> groups;
        while (rows.step()) groups.push_back(rows.text(0));
        return groups;
    });
}

}  // namespace hufu::sqlite
