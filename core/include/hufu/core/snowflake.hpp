// 64-bit, roughly time-ordered ids for business keys.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu {

/// A worker id and the id-time it may mint for. While the range lasts nobody else has both, whatever anyone's clock says:
/// the next holder of the worker id gets a range that begins where this one ends, or later.
struct WorkerIdRange {
    std::uint16_t worker = 0;  ///< 0 … 1023
    SystemTime from = {};      ///< first millisecond that may be minted
    SystemTime until = {};     ///< first millisecond that may not
    std::uint64_t epoch = 0;   ///< changes with each holder
    friend bool operator==(const WorkerIdRange&, const WorkerIdRange&) = default;
};

/// Hands out worker ids. Implementations are safe from any thread and, over a database, from any process.
class WorkerIdLease {
public:
    virtual ~WorkerIdLease() = default;
    /// Reserves a worker id whose last range ended at or before `now` for [now, now + length). `busy`/`retry` when all are taken.
    virtual Result<WorkerIdRange> acquire(SystemTime now, std::chrono::milliseconds length) = 0;
    /// Lengthens `held` to `until`, if nobody took it over; else `fenced`/`retry`: acquire another.
    virtual Result<WorkerIdRange> renew(const WorkerIdRange& held, SystemTime until) = 0;
};

/// Worker ids of one process, for tests and programs with one process.
class MemoryWorkerIdLease final : public WorkerIdLease {
public:
    /// Hands out 0 … workers - 1.
    explicit MemoryWorkerIdLease(std::uint16_t workers = 1024);
    Result<WorkerIdRange> acquire(SystemTime now, std::chrono::milliseconds length) override;
    Result<WorkerIdRange> renew(const WorkerIdRange& held, SystemTime until) override;

private:
    struct Entry {
        SystemTime until = {};
        std::uint64_t epoch = 0;
    };
    std::mutex mutex_;
    std::vector<Entry> entries_;  // guarded by mutex_
};

/// The parts of an id: bit 63 is 0, then 41 bits of milliseconds since 2024-01-01 UTC (until 2093), 10 bits of worker id,
/// 12 bits of counter within the millisecond.
struct SnowflakeParts {
    SystemTime minted_at = {};
    std::uint16_t worker = 0;
    std::uint16_t counter = 0;
    friend bool operator==(const SnowflakeParts&, const SnowflakeParts&) = default;
};
[[nodiscard]] SnowflakeParts snowflake_parts(std::int64_t id) noexcept;

struct SnowflakeOptions {
    std::chrono::milliseconds range{60'000};  ///< how far ahead the worker id is reserved; renewed when half of it is left
    std::chrono::milliseconds wait_max{50};   ///< how far the clock may have stepped back to be waited for
    std::chrono::milliseconds renew_pause{1'000};  ///< between attempts to renew while the range lasts
};

/// Mints ids, each greater than the one before, at most 4096 per millisecond (then it waits for the next one).
/// Threads: safe from any. Borrows clock and lease for its life.
/// Never repeats an id: the clock's steps back are waited for up to `wait_max` and refused beyond; other processes have other
/// worker ids or other times (`WorkerIdRange`).
class Snowflake {
public:
    Snowflake(Clock& clock, WorkerIdLease& lease, SnowflakeOptions options = {});

    /// A positive id. `unavailable`/`retry` when the clock stepped back too far; the lease's error when no worker id is to
    /// be had. Nothing is used up by an error.
    Result<std::int64_t> next();

private:
    Result<void> ensure_range(SystemTime now);
    void wait(std::chrono::microseconds time);

    Clock& clock_;
    WorkerIdLease& lease_;
    const SnowflakeOptions options_;
    std::mutex mutex_;
    std::optional<WorkerIdRange> held_;  // guarded by mutex_
    SteadyTime renew_after_ = {};        // guarded by mutex_
    std::int64_t last_ms_ = -1;          // guarded by mutex_; since 1970
    std::uint32_t counter_ = 0;          // guarded by mutex_
};

}  // namespace hufu
