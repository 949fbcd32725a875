// The threads that carry the log's groups to the disk.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/core/metrics.hpp>

namespace hufu::broker {

struct LogWriterOptions {
    std::chrono::microseconds spin{40};  ///< how long the writer looks for more work before it blocks
    /// A group of at most so many records is carried by the owner itself, inside `pump`, where groups have been that small and
    /// syncs that quick for a while: two threads need not be woken for it, which costs as much as the sync. 0: never.
    std::size_t own_records_max = 0;
    std::chrono::microseconds own_sync_most{1'000};
    Histogram* flush_seconds = nullptr;  ///< how long write and sync of a group took
    Histogram* flush_records = nullptr;  ///< how many records a group had
    Histogram* flush_bytes = nullptr;    ///< how many bytes of the log a group took
};

/// Group commit: one thread writes and syncs, one does the chores. Everything is decided on the owner's thread, and where there is
/// little to do it is done there, too (`own_records_max`).
///
/// Threads: `pump` belongs to the thread that owns the log. `notify` is called on the writer's threads, never while a lock
/// is held; it must only wake the owner (post to its event loop), which then calls `pump`.
/// Lifetime: borrows log and clock; destroying it finishes what is in flight and joins the threads. Outcomes of that
/// last work are not reported: take them with `drain` before. The histograms of the options live longer.
class LogWriter {
public:
    LogWriter(Log& log, Clock& clock, const LogWriterOptions& options, std::function<void()> notify);
    ~LogWriter();
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    /// Takes back what was performed, hands out what is ready. Call when appends were made (once per batch of input) and
    /// after every `notify`. `outcome` is called, on this thread, for every settled range, in ticket order.
    void pump(const std::function<void(const Outcome&)>& outcome);
    /// How many groups the owner has carried itself so far.
    [[nodiscard]] std::uint64_t own_groups() const noexcept;

    /// Blocks until nothing is pending or in flight (or the log refuses it), reporting as `pump` does.
    void drain(const std::function<void(const Outcome&)>& outcome);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::broker
