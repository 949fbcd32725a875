// CRC-32C (Castagnoli, RFC 3720 appendix B.4), in hardware where the processor has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hufu {

/// Continues `crc` (0 to begin) over `bytes`.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes) noexcept;

/// The portable way, for processors without the instruction and to check the fast way against.
[[nodiscard]] std::uint32_t crc32c_portable(std::uint32_t crc, std::span<const std::byte> bytes) noexcept;

}  // namespace hufu
