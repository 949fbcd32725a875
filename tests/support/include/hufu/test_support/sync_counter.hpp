// How often another process asked for a sync.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hufu::test_support {

/// A counter in a file that a preloaded library raises at every fsync, fdatasync and msync of the processes started with
/// `environment`.
class SyncCounter {
public:
    /// Makes the file; throws std::runtime_error when it cannot.
    explicit SyncCounter(const std::string& path);
    ~SyncCounter();
    SyncCounter(const SyncCounter&) = delete;
    SyncCounter& operator=(const SyncCounter&) = delete;

    [[nodiscard]] std::uint64_t count() const;
    /// The library for LD_PRELOAD.
    [[nodiscard]] static std::string library();
    /// NAME=value that tells the library where to count.
    [[nodiscard]] std::string environment() const { return "HUFU_SYNC_COUNT=" + path_; }

private:
    std::string path_;
    void* mapped_ = nullptr;
};

}  // namespace hufu::test_support
