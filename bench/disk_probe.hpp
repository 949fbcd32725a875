// What the disk can do alone.
#pragma once

#include <string>

#include <hufu/core/error.hpp>

namespace hufu::bench {

/// What a message of 1 KiB takes in the log, about.
inline constexpr std::size_t record_bytes = 1'216;

/// Records per second that the disk alone makes durable when `group` of them go into one synced write of a prepared file
/// in `folder`.
Result<double> probe_disk(const std::string& folder, std::size_t group);

}  // namespace hufu::bench
