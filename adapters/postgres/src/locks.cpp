#include <hufu/postgres/locks.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "effect_work.hpp"

namespace hufu::postgres {
namespace {

using idempotency::FencingToken;

constexpr std::string_view about = "lock";

std::string milliseconds_text(std::chrono::milliseconds duration) {
    return std::to_string(std::max<std::int64_t>(duration.count(), 1));
}

/// Of 64 bits, so that two names sharing one are rare, and then only wait for each other.
std::string lock_number(const pqxx::transaction_base& tx, const std::string& name) {
    return "hashtextextended(" + tx.quote("hufu.lock:" + name) + ", 0)";
}

/// A session that holds one advisory lock.
class AdvisoryLock final : public idempotency::Lock {
public:
    AdvisoryLock(ConnectionPool::Lent session, std::string name, FencingToken token)
        : session_{std::move(session)}, name_{std::move(name)}, token_{token} {}
    ~AdvisoryLock() override {
        // Not given back with a lock in it: without an answer the session ends, and the lock with it.
        const auto unlocked = guarded<void>(Setting::own_transaction, about, [&]() -> Result<void> {
            pqxx::nontransaction tx{*session_};
            tx.exec("select pg_advisory_unlock_all()");
            return {};
        });
        if (!unlocked) session_->disconnect();
    }
    AdvisoryLock(const AdvisoryLock&) = delete;
    AdvisoryLock& operator=(const AdvisoryLock&) = delete;

    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] FencingToken token() const noexcept override { return token_; }
    [[nodiscard]] bool held() const override { return !lost_; }
    Result<void> confirm() override {
        const std::lock_guard lock{mutex_};
        const auto alive = guarded<void>(Setting::own_transaction, about, [&]() -> Result<void> {
            pqxx::nontransaction tx{*session_};
            tx.exec("select 1");
            return {};
        });
        if (!alive) lost_ = true;
        if (lost_) return idempotency::lock_lost(name_);
        return {};
    }

private:
    std::mutex mutex_;
    ConnectionPool::Lent session_;  // guarded by mutex_
    std::string name_;
    FencingToken token_;
    std::atomic<bool> lost_{false};
};

}  // namespace

void carry_token(pqxx::transaction_base& tx, const std::string& name, FencingToken token, std::chrono::milliseconds stall) {
    idempotency::check_lock_name(name).value();
    const auto newest = guarded<std::int64_t>(Setting::in_transaction, about, [&]() -> Result<std::int64_t> {
        // Several statements, one round trip. The row stays locked until the end: other holders' updates come before or after.
        const auto rows = tx.exec(
            "select set_config('idle_in_transaction_session_timeout', " + tx.quote(milliseconds_text(stall)) +
            ", true); insert into hufu.fence(name, token) values (" + tx.quote(name) + ", " + std::to_string(token.value) +
            ") on conflict (name) do update set token = greatest(fence.token, excluded.token) returning token");
        return rows[0][0].as<std::int64_t>();
    });
    if (newest.value() > token.value) throw Exception{idempotency::older_token(name, token, FencingToken{*newest})};
}

idempotency::OnceOutcome lock_check_update(ConnectionPool& pool, idempotency::LockProvider& locks, const std::string& name,
                                           std::chrono::milliseconds wait,
                                           const std::function<idempotency::EffectResult(pqxx::work&)>& effect,
                                           std::chrono::milliseconds stall) {
    auto lent = pool.lend();
    if (!lent) return {Handled::retry, {}, lent.error().text()};
    EffectWork work{**lent};
    const auto carry = [&](FencingToken token) -> Result<void> {
        try {
            carry_token(work.work(), name, token, stall);
            return {};
        } catch (const Exception& error) {
            return error.error();
        }
    };
    return idempotency::lock_check_update(locks, name, wait, work, carry, [&] { return effect(work.work()); });
}

Result<std::unique_ptr<idempotency::Lock>> AdvisoryLocks::acquire(const std::string& name, std::chrono::milliseconds wait) {
    if (const auto fine = idempotency::check_lock_name(name); !fine) return fine.error();
    auto lent = pool_.lend();
    if (!lent) return lent.error();
    const auto token = guarded<FencingToken>(Setting::own_transaction, about, [&]() -> Result<FencingToken> {
        pqxx::work tx{**lent};
        tx.exec("select set_config('lock_timeout', " + tx.quote(milliseconds_text(wait)) + ", true)");
        tx.exec("select pg_advisory_lock(" + lock_number(tx, name) + ")");  // of the session: outlives the transaction
        const auto rows = tx.exec_params(
            "insert into hufu.fence(name, token) values ($1, 1) on conflict (name) do update set token = fence.token + 1 "
            "returning token",
            name);
        const FencingToken granted{rows[0][0].as<std::int64_t>()};
        tx.commit();
        return granted;
    });
    if (!token) {
        (*lent)->disconnect();  // it may hold the lock
        if (token.error().code() == ErrorCode::busy) return idempotency::lock_busy(name, wait);
        return token.error();
    }
    return std::unique_ptr<idempotency::Lock>{std::make_unique<AdvisoryLock>(std::move(*lent), name, *token)};
}

}  // namespace hufu::postgres
