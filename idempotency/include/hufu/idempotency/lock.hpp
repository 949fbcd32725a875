// Locks that hand out a token, which the update must carry.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// Grows with every grant of a lock's name. An update that carries an older one than the database has seen is refused, so a
/// holder that was stopped past its lease changes nothing any more (Kleppmann, "How to do distributed locking").
struct FencingToken {
    std::int64_t value = 0;
    friend auto operator<=>(const FencingToken&, const FencingToken&) = default;
};

/// A lock held by this process; given up at destruction. `held` and `confirm` from any thread.
class Lock {
public:
    virtual ~Lock() = default;
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
    [[nodiscard]] virtual FencingToken token() const noexcept = 0;
    /// For all that is known here; costs nothing. False: it is lost, or nobody could say for a whole lease.
    [[nodiscard]] virtual bool held() const = 0;
    /// Asks whoever granted it. `fenced`/retry when it is lost.
    virtual Result<void> confirm() = 0;
};

/// Grants one lock per name at a time. Thread-safe; outlives its locks.
class LockProvider {
public:
    virtual ~LockProvider() = default;
    /// Waits up to `wait`. `busy`/retry when somebody else still holds it then; `invalid_argument` for a name that is empty
    /// or longer than 255 bytes.
    virtual Result<std::unique_ptr<Lock>> acquire(const std::string& name, std::chrono::milliseconds wait) = 0;
};

/// Lock → check → update: takes the lock `name`, begins `transaction`, carries the token into it (`carry`, which refuses an
/// older one and keeps other holders' updates out until the end), runs `effect`, makes sure that the lock is still held, and
/// commits. Like `run_once`: a lock that is busy or lost, or a token that is older, ends as `retry` with nothing changed.
/// Exceptions of `effect` pass through, after the roll-back.
[[nodiscard]] OnceOutcome lock_check_update(LockProvider& locks, const std::string& name, std::chrono::milliseconds wait,
                                            EffectTransaction& transaction,
                                            const std::function<Result<void>(FencingToken)>& carry,
                                            const std::function<EffectResult()>& effect);

inline constexpr std::size_t lock_name_bytes_max = 255;
Result<void> check_lock_name(const std::string& name);

[[nodiscard]] Error lock_busy(const std::string& name, std::chrono::milliseconds waited);
[[nodiscard]] Error lock_lost(const std::string& name);
[[nodiscard]] Error older_token(const std::string& name, FencingToken token, FencingToken newest);

}  // namespace hufu::idempotency
