// A process that updates an account as lock, check and update; and the database that the account is in.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <hufu/idempotency/lock.hpp>
#include <hufu/idempotency/lock_machine.hpp>

#include "event_queue.hpp"
#include "sim_redis.hpp"

namespace hufu::simulation {

/// One account and its lock's fence, in a database that ends transactions which stand still.
class AccountDatabase {
public:
    using TransactionId = std::uint64_t;
    static constexpr std::chrono::milliseconds stall{400};

    AccountDatabase(EventQueue& events, std::function<void(const std::string&)> complain)
        : events_{events}, complain_{std::move(complain)} {}

    TransactionId begin();
    /// Nothing: another transaction has the fence's row; ask again. An error: a newer token was here, or this transaction is
    /// gone.
    std::optional<Result<void>> carry(TransactionId transaction, idempotency::FencingToken token);
    /// False when the transaction is gone.
    bool read(TransactionId transaction);
    bool write(TransactionId transaction);
    bool commit(TransactionId transaction);
    void roll_back(TransactionId transaction) { open_.erase(transaction); }
    void restart() { open_.clear(); }
    [[nodiscard]] std::uint64_t updates() const { return updates_; }

private:
    struct Open {
        bool has_fence = false;
        std::optional<std::int64_t> token;
        std::int64_t read = 0;
        std::optional<std::int64_t> written;
        SteadyTime active;
    };

    /// The open transaction, unless the server has ended it.
    Open* find(TransactionId transaction);

    EventQueue& events_;
    std::function<void(const std::string&)> complain_;
    std::map<TransactionId, Open> open_;
    TransactionId last_ = 0;
    std::int64_t newest_token_ = 0;
    std::int64_t balance_ = 0;
    std::uint64_t updates_ = 0;
};

class LockNode {
public:
    static constexpr std::chrono::milliseconds lease{150};

    LockNode(EventQueue& events, SimRedis& redis, AccountDatabase& account)
        : events_{events}, redis_{redis}, account_{account} {}

    void start();
    void kill();
    void pause(EventQueue::Duration how_long) { stopped_until_ = events_.now() + how_long; }
    [[nodiscard]] bool is_up() const { return up_; }

private:
    struct Update {
        idempotency::LockMachine machine;
        std::string secret;
        idempotency::FencingToken token;
        SteadyTime trust_until{};
        bool lost = false;
        std::optional<AccountDatabase::TransactionId> transaction;
    };
    using Shared = std::shared_ptr<Update>;

    void later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void run_when_awake(std::uint64_t life, const std::function<void()>& event);
    void begin_one();
    void advance(const Shared& update);
    void acquire(const Shared& update);
    void run_effect(const Shared& update);
    void answer_effect(const Shared& update, bool good);
    void check_lock(const Shared& update);
    /// Extends the lock, or finds out that it is lost; then `after`.
    void renew(const Shared& update, std::function<void(bool known)> after);
    void renew_now_and_then(const Shared& update);
    void answer(const Shared& update, bool good, const char* what);

    EventQueue& events_;
    SimRedis& redis_;
    AccountDatabase& account_;
    bool up_ = false;
    std::uint64_t life_ = 0;
    SteadyTime stopped_until_{};
};

}  // namespace hufu::simulation
