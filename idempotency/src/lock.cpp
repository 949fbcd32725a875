#include <hufu/idempotency/lock.hpp>

#include <utility>

#include <hufu/core/mutant.hpp>
#include <hufu/idempotency/grade.hpp>

namespace hufu::idempotency {

Result<void> check_lock_name(const std::string& name) {
    if (!name.empty() && name.size() <= lock_name_bytes_max) return {};
    return Error{ErrorCode::invalid_argument, Disposition::reject,
                 "a lock's name has 1 to " + std::to_string(lock_name_bytes_max) + " bytes, this one has " +
                     std::to_string(name.size())};
}

Error lock_busy(const std::string& name, std::chrono::milliseconds waited) {
    return Error{ErrorCode::busy, Disposition::retry,
                 "lock \"" + name + "\" was not free within " + duration_text(waited) + "; try again later, or wait longer"};
}

Error lock_lost(const std::string& name) {
    return Error{ErrorCode::fenced, Disposition::retry,
                 "lock \"" + name + "\" is lost: another may hold it; nothing was changed, take it again and check anew"};
}

Error older_token(const std::string& name, FencingToken token, FencingToken newest) {
    return Error{ErrorCode::fenced, Disposition::abort_transaction,
                 "lock \"" + name + "\": token " + std::to_string(token.value) + " is older than " +
                     std::to_string(newest.value) +
                     ", which has updated already; this holder was too slow: roll back, take the lock again and check anew"};
}

namespace {

class RollBack {
public:
    explicit RollBack(EffectTransaction& transaction) : transaction_{&transaction} {}
    ~RollBack() {
        if (transaction_ != nullptr) transaction_->roll_back();
    }
    RollBack(const RollBack&) = delete;
    RollBack& operator=(const RollBack&) = delete;
    void unless_committed() noexcept { transaction_ = nullptr; }

private:
    EffectTransaction* transaction_;
};

OnceOutcome outcome_of(const Error& error) {
    return {error.disposition() == Disposition::reject ? Handled::reject : Handled::retry, {}, error.text()};
}

Result<void> still_ours(Lock& lock) {
    // Seeded bug: nobody looks before the commit.
    if (mutant_active("lock_loss_unseen") || lock.held()) return {};
    return lock.confirm();
}

}  // namespace

OnceOutcome lock_check_update(LockProvider& locks, const std::string& name, std::chrono::milliseconds wait,
                              EffectTransaction& transaction, const std::function<Result<void>(FencingToken)>& carry,
                              const std::function<EffectResult()>& effect) {
    const auto lock = locks.acquire(name, wait);
    if (!lock) return outcome_of(lock.error());
    if (const auto begun = transaction.begin(); !begun) return outcome_of(begun.error());
    RollBack roll_back{transaction};
    // The token goes first: what is read after it includes every update of an earlier holder. Seeded bug: it does not go.
    if (!mutant_active("update_without_token")) {
        if (const auto carried = carry((*lock)->token()); !carried) return outcome_of(carried.error());
    }
    EffectResult result = effect();
    if (result.handled == Handled::retry || result.handled == Handled::reject) return result;
    if (const auto ours = still_ours(**lock); !ours) return outcome_of(ours.error());
    const auto committed = transaction.commit();
    if (!committed) return outcome_of(committed.error());
    roll_back.unless_committed();
    return result;
}

}  // namespace hufu::idempotency
