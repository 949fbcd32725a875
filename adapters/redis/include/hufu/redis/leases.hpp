// The lease guard's store and the filter's marks, in Redis.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/idempotency/done_filter.hpp>
#include <hufu/idempotency/lease.hpp>
#include <hufu/redis/client.hpp>

namespace hufu::redis {

/// An effect that is done, to be recorded with others.
struct Completion {
    const idempotency::LeaseRequest* request = nullptr;
    idempotency::LeaseResult result = {};
};

/// What `Leases::exchange` has learnt, in the order of what it was asked.
struct Exchanged {
    std::vector<Result<idempotency::LeaseKept>> completed = {};
    std::vector<Result<idempotency::LeaseSeen>> acquired = {};
};

struct LeasesOptions {
    std::string prefix = "hufu:guard:";
    /// Off: acquire by the script at once, for a server that is known to be older than 7.0.
    bool native_acquire = true;
};

/// Leases and results as keys with a time to live. Acquiring is one native command (`SET key … NX GET PX`, Redis 7.0; a script
/// where that is refused), whatever compares a token is a script, loaded when first needed and again when the server forgot it.
///
/// What it keeps is as durable as that Redis: a server that restarts without its append-only file, loses its last second,
/// evicts keys (`maxmemory-policy` other than noeviction) or fails over to a replica that is behind has forgotten, and the
/// guard then runs an effect again. Server time alone decides when a lease ends.
///
/// Thread-safe. Borrows the client.
class Leases final : public idempotency::LeaseStore {
public:
    explicit Leases(Client& client, LeasesOptions options = {});
    ~Leases() override;

    Result<idempotency::LeaseSeen> acquire(const idempotency::LeaseRequest& request) override;
    void renew(std::span<const idempotency::LeaseRequest* const> requests,
               std::span<Result<idempotency::LeaseKept>> answers) override;
    Result<idempotency::LeaseKept> complete(const idempotency::LeaseRequest& request,
                                            const idempotency::LeaseResult& result) override;
    Result<void> release(const idempotency::LeaseRequest& request) override;

    /// For handlers of batches: records what is done and acquires what comes next, in one flight.
    [[nodiscard]] Exchanged exchange(std::span<const Completion> done,
                                     std::span<const idempotency::LeaseRequest* const> next);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The filter's marks: a key per finished message. Thread-safe. Borrows the client.
class DoneMarks final : public idempotency::DoneMarks {
public:
    explicit DoneMarks(Client& client, std::string prefix = "hufu:done:");

    Result<std::optional<std::string>> find(const idempotency::GuardKey& key) override;
    Result<void> mark(const idempotency::GuardKey& key, std::string_view result,
                      std::chrono::milliseconds keep_for) override;

private:
    [[nodiscard]] std::string name_of(const idempotency::GuardKey& key) const;

    Client& client_;
    std::string prefix_;
};

}  // namespace hufu::redis
