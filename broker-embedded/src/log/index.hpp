// Where the messages of each queue stand in a segment.
#pragma once

#include <hufu/core/file.hpp>

#include "log/format.hpp"

namespace hufu::broker {

/// The messages of one queue in one segment, dense from `first`.
struct QueueEntries {
    std::uint32_t queue = 0;
    std::uint64_t first = 0;
    std::vector<IndexEntry> entries;
};

/// The whole index of one sealed segment in memory: until its file is written, or after it was rebuilt.
struct SealedIndex {
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t newest_ms = 0;
    std::uint64_t oldest_target = no_target;
    std::vector<QueueEntries> queues;
};

struct IndexDirectory {
    IndexHeader header;
    std::vector<IndexRun> runs;
};

/// Writes the index under a temporary name, syncs it and gives it its name.
Result<void> write_index(Directory& directory, const SealedIndex& index);

/// Reads and verifies header and runs. `corrupt` when they do not verify or are of another segment.
Result<IndexDirectory> read_index_directory(const File& file, std::uint64_t base, std::uint64_t end);

/// Reads entries; `corrupt` when one does not verify.
Result<void> read_index_entries(const File& file, std::uint64_t position, std::span<IndexEntry> into);

}  // namespace hufu::broker
