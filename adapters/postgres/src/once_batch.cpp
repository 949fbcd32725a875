#include <hufu/postgres/once.hpp>

#include <memory>
#include <utility>

#include <hufu/idempotency/once_batch.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/postgres/outbox.hpp>

#include "guard_work.hpp"

namespace hufu::postgres {

BatchHandler once_batch(ConnectionPool& pool, std::string group, Effect effect) {
    auto alone = once(pool, group, effect);
    return [&pool, group = std::move(group), effect = std::move(effect), alone = std::move(alone),
            outbox = std::make_shared<Outbox>()](std::span<const Delivery* const> batch) {
        auto lent = pool.lend();
        if (!lent) return std::vector<HandlerResult>(batch.size(), HandlerResult{Handled::retry, lent.error().text()});
        GuardWork work{**lent};
        const auto run = [&](std::size_t place) {
            const auto& message = batch[place]->message;
            auto result = effect(work.work(), message);
            const outbox::ReceiptDuty duty{group, message};
            if (const auto receipt = duty.with_effect(result.handled)) outbox->append(work.work(), *receipt);
            return result;
        };
        return idempotency::run_once_batch(group, batch, {work, work, run, alone});
    };
}

BatchHandler once_batch(ConnectionPool& pool, std::string group, Process process, OutboxOptions options) {
    auto effect = sending(group, std::move(process), options);
    return once_batch(pool, std::move(group), std::move(effect));
}

}  // namespace hufu::postgres
