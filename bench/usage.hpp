// What a process has used so far, and the disk under it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include <hufu/test_support/sync_counter.hpp>

namespace hufu::bench {

struct Usage {
    double cpu_seconds = 0;  ///< user and system, all threads
    /// Written by the whole disk. What the kernel counts per process counts large pages of which a few bytes changed.
    std::optional<double> disk_bytes = {};
    std::optional<double> syncs = {};  ///< fsync, fdatasync and msync, where they are counted
};

/// `folder` lies on the disk.
[[nodiscard]] Usage usage_of(pid_t pid, const test_support::SyncCounter* syncs, const std::string& folder);
/// What was used between the two.
[[nodiscard]] Usage operator-(const Usage& after, const Usage& before);

/// Anonymous resident memory now, MB of 1,000,000 bytes; 0 when there is no such process.
[[nodiscard]] double rss_anon_mb(pid_t pid);

}  // namespace hufu::bench
