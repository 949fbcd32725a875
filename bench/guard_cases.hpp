// The cases of the guard benchmark. Each adds its rows, and throws std::runtime_error when the run was not valid.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "report.hpp"

namespace hufu::bench {

struct GuardOptions {
    int seconds = 1;  ///< of each measured leg
    int rounds = 5;   ///< of interleaved legs
};

/// Calls `once` for a while and returns how many times per second, each call counting for `worth`.
[[nodiscard]] double rate_of(const std::function<void()>& once, double seconds, double worth = 1);

/// Interleaved legs of the two; the median of the ratios decides.
[[nodiscard]] ResultRow compare(const std::string& name, const std::string& unit, const GuardOptions& options,
                                const std::function<double(double)>& ours, const std::function<double(double)>& other,
                                const std::string& other_name);

/// The Redis guard against bare `SET NX PX` by hiredis, one at a time and in flights of 16; acquired and completed; and by
/// many threads.
void redis_guard(const GuardOptions& options, std::vector<ResultRow>& rows);

/// A handler on durable PostgreSQL with its guard and without, 16 at once: in the effect's flight, and on raw pqxx.
void database_guard(const GuardOptions& options, std::vector<ResultRow>& rows);

/// HTTP requests at 1,000 a second, with the guard and without: the difference of their 99th percentiles.
void http_guard(const GuardOptions& options, std::vector<ResultRow>& rows);

/// The guard table with `rows` rows of thirty days: its size, its plans, a guarded message beside an empty table, and cleaning
/// up half of it.
void guard_inbox(const GuardOptions& options, std::int64_t rows, std::vector<ResultRow>& out);

}  // namespace hufu::bench
