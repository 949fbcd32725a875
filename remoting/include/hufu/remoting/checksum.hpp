// The checksum of a stored body.
#pragma once

#include <cstdint>
#include <string_view>

namespace hufu::remoting {

/// CRC-32 (IEEE 802.3, reflected, as zlib's crc32) of `bytes`. Uses carry-less multiplication where the processor has it.
[[nodiscard]] std::uint32_t crc32(std::string_view bytes) noexcept;
/// What a record stores of its body: the CRC-32 without its top bit, as Java's int.
[[nodiscard]] inline std::int32_t body_checksum(std::string_view body) noexcept {
    return static_cast<std::int32_t>(crc32(body) & 0x7FFF'FFFFU);
}

}  // namespace hufu::remoting
