// A filter in front of the database guard: duplicates of finished messages need no database transaction.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/idempotency/guard.hpp>
#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// Remembers keys whose effect the database has committed. May forget any of them at any time; must not invent one.
/// Thread-safe.
class DoneMarks {
public:
    virtual ~DoneMarks() = default;
    /// What was kept with the key, if it is known.
    virtual Result<std::optional<std::string>> find(const GuardKey& key) = 0;
    virtual Result<void> mark(const GuardKey& key, std::string_view result, std::chrono::milliseconds keep_for) = 0;
};

/// Asks `marks` first, and the database only for what is not marked. A key is marked after the database's commit, never
/// before, so the grade stays `effect_once`: marks that are lost, or a store of them that is down, cost a database
/// transaction and nothing else. The marks belong to one database: after restoring that from a backup, delete them.
///
/// Thread-safe. Borrows `marks` and the clock.
class FilteredGuard {
public:
    struct Options {
        std::chrono::milliseconds keep_for = std::chrono::hours{24};
        /// After the marks' store failed it is left alone for so long: a dead filter costs no time-out per message.
        std::chrono::milliseconds pause{1'000};
    };
    explicit FilteredGuard(DoneMarks& marks) : FilteredGuard{marks, Options{}} {}
    FilteredGuard(DoneMarks& marks, Options options, Clock& clock = system_clock());

    /// `in_database` runs the guarded effect and says how it ended; it is not called for a marked key.
    [[nodiscard]] OnceOutcome run(const GuardKey& key, const std::function<OnceOutcome()>& in_database);

private:
    [[nodiscard]] bool usable() const;
    void note(bool good);

    DoneMarks& marks_;
    Options options_;
    Clock& clock_;
    std::atomic<std::int64_t> paused_until_ns_{0};  // steady
};

/// Wraps a handler made by a database adapter's `once` for the same group. `guard` outlives it.
[[nodiscard]] Handler filtered(FilteredGuard& guard, std::string group, Handler in_database);

}  // namespace hufu::idempotency
