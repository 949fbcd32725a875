#include <hufu/idempotency/lock.hpp>

#include <utility>

#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/lock_machine.hpp>

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

/// Rolls back unless told that the transaction has ended: also when the effect throws.
class Open {
public:
    explicit Open(EffectTransaction& transaction) : transaction_{transaction} {}
    ~Open() {
        if (open_) transaction_.roll_back();
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    void set(bool open) noexcept { open_ = open; }

private:
    EffectTransaction& transaction_;
    bool open_ = false;
};

Result<void> still_ours(Lock& lock) {
    if (lock.held()) return {};
    return lock.confirm();
}

}  // namespace

OnceOutcome lock_check_update(LockProvider& locks, const std::string& name, std::chrono::milliseconds wait,
                              EffectTransaction& transaction, const std::function<Result<void>(FencingToken)>& carry,
                              const std::function<EffectResult()>& effect) {
    LockMachine machine;
    std::unique_ptr<Lock> lock;
    Open open{transaction};
    const auto answer = [&machine](const Result<void>& result) { result ? machine.done() : machine.failed(result.error()); };
    for (;;) {
        switch (machine.next()) {
            case LockAction::acquire: {
                auto granted = locks.acquire(name, wait);
                if (!granted) {
                    machine.failed(granted.error());
                    break;
                }
                lock = std::move(*granted);
                machine.done();
                break;
            }
            case LockAction::begin: {
                const auto begun = transaction.begin();
                open.set(begun.has_value());
                answer(begun);
                break;
            }
            case LockAction::carry_token: answer(carry(lock->token())); break;
            case LockAction::run_effect: machine.returned(effect()); break;
            case LockAction::check_lock: answer(still_ours(*lock)); break;
            case LockAction::commit:
                open.set(false);
                answer(transaction.commit());
                break;
            case LockAction::roll_back:
                open.set(false);
                transaction.roll_back();
                machine.done();
                break;
            case LockAction::finished: return machine.outcome();
        }
    }
}

}  // namespace hufu::idempotency
