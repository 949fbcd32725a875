// A model of a consumer's database: guard rows with a unique key, effects, transactions that wait for each other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <hufu/idempotency/guard.hpp>

namespace hufu::simulation {

/// One effect, in the order in which effects were committed.
struct Effect {
    MessageId id;
    std::string key;
    std::uint64_t version = 0;
};

/// The database. A transaction that inserts a key which another open transaction has inserted waits for its end.
class EffectDatabase {
public:
    using TransactionId = std::uint64_t;

    TransactionId begin();
    /// Nothing: the caller must ask again after `waits_for` of the key has ended.
    std::optional<idempotency::GuardSeen> insert(TransactionId transaction, const idempotency::GuardKey& key);
    [[nodiscard]] idempotency::GuardSeen find(const idempotency::GuardKey& key) const;
    void keep_result(TransactionId transaction, std::string result);
    void add_effect(TransactionId transaction, Effect effect);
    /// False when the transaction is gone (crash, dead client). `now`: when its guard row was written.
    bool commit(TransactionId transaction, SystemTime now = {});
    /// Deletes guard rows from before `cut`, and moves the horizon there.
    void purge(SystemTime cut);
    void roll_back(TransactionId transaction);
    /// Every open transaction is gone.
    void restart();

    [[nodiscard]] bool is_open(TransactionId transaction) const { return open_.contains(transaction); }
    [[nodiscard]] const std::vector<Effect>& effects() const { return effects_; }

private:
    struct Open {
        std::optional<MessageId> guard;
        std::string result;
        std::vector<Effect> effects;
    };

    struct Kept {
        std::string result;
        SystemTime seen_at;
    };

    std::map<MessageId, Kept> guards_;
    SystemTime horizon_{};
    std::map<TransactionId, Open> open_;
    std::vector<Effect> effects_;
    TransactionId last_ = 0;
};

}  // namespace hufu::simulation
