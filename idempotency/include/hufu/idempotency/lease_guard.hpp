// One effect per key without a database: a lease while it runs, its result afterwards. Grade `best_effort`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/random.hpp>
#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/lease.hpp>
#include <hufu/idempotency/lease_machine.hpp>

namespace hufu::idempotency {

/// What a guard uses of its surroundings; all borrowed for its life.
struct GuardEnvironment {
    Clock& clock = system_clock();
    Random& random = system_random();  ///< used from any thread
    MetricsRegistry* metrics = nullptr;
};

/// The lease of a running effect, for an effect that wants to know before it does what cannot be undone.
class HeldLease {
public:
    virtual ~HeldLease() = default;
    /// For all that is known here; costs nothing.
    [[nodiscard]] virtual bool held() const = 0;
    /// Asks the store, and begins the lease's time anew. `fenced`/retry when it is another's, or when the store does not say.
    virtual Result<void> confirm() = 0;
};

/// Runs effects under leases of `store`, one at a time per key among all processes of the group; a duplicate gets the kept
/// result, or is told that the effect is in progress. While effects run, one thread renews the leases of all of them.
///
/// Grade `best_effort`: docs/guards.md lists when an effect may take place twice. An outcome says so where it is known.
///
/// Thread-safe. Borrows `store`, clock, chance and metrics; outlives the calls of `run`.
/// Metrics, labelled by group: hufu_guard_runs_total, _duplicates_total, _in_progress_total, _conflicts_total,
/// _lease_lost_total, _unrecorded_total, _store_failures_total.
class LeaseGuard {
public:
    /// Throws `hufu::Exception` with what `check(declaration)` refuses, a grade other than `best_effort`, or a lease below
    /// 100 ms.
    LeaseGuard(LeaseStore& store, GuardDeclaration declaration, LeaseOptions options = {},
               GuardEnvironment environment = {});
    ~LeaseGuard();
    LeaseGuard(const LeaseGuard&) = delete;
    LeaseGuard& operator=(const LeaseGuard&) = delete;

    using Effect = std::function<EffectResult(HeldLease&)>;
    /// `id`: of the message or request; `fingerprint`: of its payload, or empty. What `effect` throws passes through, after
    /// the lease was given up.
    [[nodiscard]] LeaseOutcome run(const std::string& id, const std::string& fingerprint, const Effect& effect);

    [[nodiscard]] const GuardDeclaration& declaration() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// What a user writes: the effect of a message.
using LeasedEffect = std::function<EffectResult(const Message&, HeldLease&)>;

/// Wraps `effect` for a consumer: by message id. `guard` outlives the handler.
[[nodiscard]] Handler best_effort(LeaseGuard& guard, LeasedEffect effect);

}  // namespace hufu::idempotency
