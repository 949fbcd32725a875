#include "lock_holder.hpp"

#include <unistd.h>

#include <pqxx/pqxx>

#include <chrono>
#include <csignal>
#include <exception>

#include <hufu/postgres/locks.hpp>
#include <hufu/redis/locks.hpp>

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using idempotency::EffectResult;

constexpr const char* account = "account:1";
constexpr auto lease = 300ms;
constexpr auto stall = 500ms;
constexpr auto patience = 10s;

void say(const std::string& line) {
    const std::string text = line + "\n";
    if (::write(STDIN_FILENO, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::_Exit(3);
}

void stop_here() {
    say("at");
    std::raise(SIGSTOP);
}

/// Stops the process once the lock is granted.
class StoppingLocks final : public idempotency::LockProvider {
public:
    explicit StoppingLocks(idempotency::LockProvider& locks) : locks_{locks} {}
    Result<std::unique_ptr<idempotency::Lock>> acquire(const std::string& name, std::chrono::milliseconds wait) override {
        auto lock = locks_.acquire(name, wait);
        if (lock) stop_here();
        return lock;
    }

private:
    idempotency::LockProvider& locks_;
};

EffectResult add_one(pqxx::work& tx, StopPoint stop) {
    const auto balance = tx.exec("select balance from account where id = 1")[0][0].as<int>();
    if (stop == StopPoint::after_check) stop_here();
    tx.exec_params("update account set balance = $1 where id = 1", balance + 1);
    return Handled::done;
}

/// What people write who trust the lock alone.
EffectResult update_without_token(postgres::ConnectionPool& pool, idempotency::LockProvider& locks, StopPoint stop) {
    const auto lock = locks.acquire(account, patience);
    if (!lock) return {Handled::retry, {}, lock.error().text()};
    const auto connection = pool.lend().value();
    pqxx::work tx{*connection};
    auto result = add_one(tx, stop);
    tx.commit();
    return result;
}

}  // namespace

int run_holder(const HolderSettings& settings) {
    redis::Client client{settings.redis};
    redis::Locks locks{client, {.lease = lease}};
    StoppingLocks stopping{locks};
    idempotency::LockProvider& chosen =
        settings.stop == StopPoint::after_lock ? static_cast<idempotency::LockProvider&>(stopping) : locks;
    postgres::ConnectionPool pool{settings.database};
    try {
        const auto outcome = settings.without_token ? update_without_token(pool, chosen, settings.stop)
                                                    : postgres::lock_check_update(
                                                          pool, chosen, account, patience,
                                                          [&](pqxx::work& tx) { return add_one(tx, settings.stop); }, stall);
        say(outcome.handled == Handled::done ? "done" : "refused " + outcome.reason);
    } catch (const std::exception& failure) {
        say(std::string{"refused "} + failure.what());
    }
    return 0;
}

}  // namespace hufu::fault
