// Lock → check → update: the order of steps, decided without a lock or a database.
#pragma once

#include <cstdint>

#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// What the shell has to do next.
enum class LockAction : std::uint8_t {
    acquire,      ///< take the lock
    begin,        ///< begin the transaction
    carry_token,  ///< the token goes first: what is read after it includes every update of an earlier holder
    run_effect,   ///< reads, decides, changes
    check_lock,   ///< is the lock still held, for all that is known; where it is not known, ask
    commit,
    roll_back,
    finished,
};

/// Not thread-safe; one object per update. Borrows nothing.
class LockMachine {
public:
    [[nodiscard]] LockAction next() const noexcept;

    void done();                         ///< the step has succeeded (all but `run_effect`)
    void failed(const Error& error);     ///< the step has failed; the transaction, if open, is rolled back next
    void returned(EffectResult result);  ///< `run_effect` has returned

    /// At `finished`.
    [[nodiscard]] const OnceOutcome& outcome() const noexcept { return outcome_; }

private:
    void advance();

    LockAction step_ = LockAction::acquire;
    bool open_ = false;    // a transaction is open
    bool ending_ = false;  // roll back if open, then finished
    OnceOutcome outcome_;
};

}  // namespace hufu::idempotency
