// Locks in Redis: a lease that is renewed, and a token that grows.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <hufu/idempotency/lock.hpp>
#include <hufu/redis/client.hpp>

namespace hufu::redis {

struct LocksOptions {
    std::string prefix = "hufu:lock:";
    /// A holder that dies or stands still blocks the name for so long; a running one renews three times within it.
    std::chrono::milliseconds lease{10'000};
    /// How long acquiring pauses between looks, at most.
    std::chrono::milliseconds look_every{50};
};

/// Grants locks from one Redis server; one thread renews all that are held. Redis decides nothing alone: it may lose a lock
/// (restart, eviction, failover) and grant it twice, which the token then catches in the database that is updated. A token is
/// the server's time in microseconds, or one more than the last where that clock has gone back, so it grows also when the
/// server has forgotten everything.
///
/// Thread-safe. Borrows the client; outlives its locks.
class Locks final : public idempotency::LockProvider {
public:
    /// Throws `hufu::Exception` (`invalid_argument`) for a lease below 100 ms.
    explicit Locks(Client& client, LocksOptions options = {});
    ~Locks() override;

    Result<std::unique_ptr<idempotency::Lock>> acquire(const std::string& name, std::chrono::milliseconds wait) override;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::redis
