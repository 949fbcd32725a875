// Bodies that producers compressed: zlib (all clients), LZ4 frames and ZSTD (Java from 5.0).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hufu::rocketmq {

/// What a body may grow to; more is taken for an attack on memory.
inline constexpr std::size_t inflated_bytes_max = 64 * 1024 * 1024;

// Nothing for bytes that are not the whole of one compressed body of that kind, or grow beyond the limit.

[[nodiscard]] std::optional<std::string> inflate_zlib(std::string_view compressed);
[[nodiscard]] std::optional<std::string> inflate_lz4(std::string_view compressed);
[[nodiscard]] std::optional<std::string> inflate_zstd(std::string_view compressed);

}  // namespace hufu::rocketmq
