// A group while it is filled, written and synced.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include <hufu/broker/log.hpp>

#include "log/format.hpp"

namespace hufu::broker {

/// A piece of memory that records are copied into; a record never spans two.
struct Chunk {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t capacity = 0;
    std::size_t used = 0;
};

/// Lets one sync of a file run at a time, and none succeed after one failed. The kernel reports a lost page once: if the
/// sync of a later group got that report, the sync of an earlier one would succeed without its bytes being on disk.
struct SyncGate {
    std::mutex mutex;
    bool failed = false;  ///< guarded by mutex
};

/// Filled by the log's owner; from `take_group` until `completed` or `failed` the shell's `write` and `sync` only read it.
class LogGroup {
public:
    std::shared_ptr<File> file;
    std::shared_ptr<SyncGate> gate;
    std::uint64_t segment_base = 0;
    std::uint64_t log_offset = 0;
    std::uint64_t record_bytes = 0;
    std::uint64_t last_ticket = 0;
    bool snapshot = false;
    GroupHeader header;
    std::vector<Chunk> chunks;
    std::vector<TableEntry> table;
    std::vector<std::span<const std::byte>> parts;  ///< what one gathered write takes

    [[nodiscard]] std::uint64_t bytes() const noexcept { return group_bytes(record_bytes, table.size()); }
    [[nodiscard]] std::uint64_t end() const noexcept { return log_offset + bytes(); }

    /// Fills in header and parts. Nothing may be added afterwards.
    void seal(std::uint64_t epoch, std::uint64_t durable);
};

}  // namespace hufu::broker
