// How configuration values are written and read, shared by schema and loader.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <hufu/core/config.hpp>

namespace hufu {

/// "5s", "250ms"; what `parse_duration` reads back.
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);
/// "64MiB", "512"; what `parse_size` reads back.
[[nodiscard]] std::string format_size(std::uint64_t bytes);
/// What a key accepts, as the end of an error: `a whole number from 1 to 256 is needed`.
[[nodiscard]] std::string wanted(const ConfigSchema::Key& key);

}  // namespace hufu
