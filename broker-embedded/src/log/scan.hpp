// Walking over the groups of a segment, believing nothing that does not verify.
#pragma once

#include <functional>

#include <hufu/core/file.hpp>

#include "log/format.hpp"

namespace hufu::broker {

struct ScannedRecord {
    std::uint64_t log_offset = 0;
    TableEntry entry;
    std::span<const std::byte> bytes;
    bool intact = true;  ///< false: the bytes do not match the entry's CRC (only reported below `Scan::trusted_to`)
};

struct Scan {
    std::uint64_t base = 0;
    std::uint64_t from = 0;   ///< log offset of the first group to look at
    std::uint64_t limit = 0;  ///< log offset behind the last byte that may belong to a group
    std::uint64_t trusted_to =
        0;  ///< below this log offset everything was durable: what does not verify there is damage, not a torn tail
    bool bypass_cache = false;  ///< read what the disk has, not what the page cache has
};

struct ScanResult {
    std::uint64_t end = 0;    ///< log offset behind the last group that counts
    std::uint64_t epoch = 0;  ///< of the last group
    std::uint64_t groups = 0;
    bool torn = false;  ///< something that is not zero stands at `end`
};

/// A group without its records.
struct GroupListing {
    GroupHeader header;
    std::vector<TableEntry> entries;
};

/// Reads the group that begins at `at`; false when none verifies there, or none that ends within the segment.
Result<bool> read_group_table(const File& file, const SegmentSpan& segment, std::uint64_t at, GroupListing& table);

using RecordVisitor = std::function<void(const GroupHeader& group, const ScannedRecord& record)>;
using DamageVisitor = std::function<void(std::uint64_t log_offset, std::uint64_t bytes)>;

/// Visits the records of every group that verifies, in order, up to the first that does not. A region that fails below
/// `trusted_to` (or below what a later group says was durable when it was written) is reported and passed over instead.
/// Errors: those of reading.
Result<ScanResult> scan_segment(const File& file, const Scan& scan, const RecordVisitor& visit,
                                const DamageVisitor& damaged);

}  // namespace hufu::broker
