#include <hufu/idempotency/lock_machine.hpp>

#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::idempotency {

LockAction LockMachine::next() const noexcept {
    if (ending_) return open_ ? LockAction::roll_back : LockAction::finished;
    return step_;
}

void LockMachine::done() {
    switch (next()) {
        case LockAction::begin: open_ = true; break;
        case LockAction::commit:
        case LockAction::roll_back: open_ = false; break;
        case LockAction::run_effect:
        case LockAction::finished: HUFU_ASSERT(!"done() answers neither run_effect nor finished"); break;
        default: break;
    }
    if (!ending_) advance();
}

void LockMachine::returned(EffectResult result) {
    HUFU_ASSERT(next() == LockAction::run_effect);
    outcome_ = std::move(result);
    ending_ = outcome_.handled == Handled::retry || outcome_.handled == Handled::reject;
    if (!ending_) advance();
}

void LockMachine::failed(const Error& error) {
    if (next() == LockAction::commit) open_ = false;
    outcome_ = {error.disposition() == Disposition::reject ? Handled::reject : Handled::retry, {}, error.text()};
    ending_ = true;
}

void LockMachine::advance() {
    step_ = static_cast<LockAction>(static_cast<std::uint8_t>(step_) + 1);
    if (step_ == LockAction::roll_back) step_ = LockAction::finished;
    // Seeded bugs: the update does not carry its token; nobody looks at the lock before the commit.
    if (step_ == LockAction::carry_token && mutant_active("update_without_token")) step_ = LockAction::run_effect;
    if (step_ == LockAction::check_lock && mutant_active("lock_loss_unseen")) step_ = LockAction::commit;
}

}  // namespace hufu::idempotency
