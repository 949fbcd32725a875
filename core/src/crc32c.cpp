#include <hufu/core/crc32c.hpp>

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace hufu {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78U;  // reflected

constexpr std::array<std::uint32_t, 256> byte_table = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? polynomial : 0U);
        table[i] = value;
    }
    return table;
}();

#if defined(__x86_64__)

// The instruction has a latency of three cycles and a throughput of one, so three neighbouring blocks are summed at once
// and joined: the sum of the first is moved past the length of what follows it by a table look-up per byte (the move is
// linear over GF(2)).
constexpr std::size_t block = 256;

using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr std::uint32_t past_zeros(std::uint32_t crc, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) crc = (crc >> 8U) ^ byte_table[crc & 0xFFU];
    return crc;
}

const ShiftTable& shift_table() noexcept {
    static const ShiftTable table = [] {
        ShiftTable made{};
        for (std::uint32_t lane = 0; lane < 4; ++lane) {
            for (std::uint32_t value = 0; value < 256; ++value) made[lane][value] = past_zeros(value << (8 * lane), block);
        }
        return made;
    }();
    return table;
}

std::uint32_t past_block(const ShiftTable& table, std::uint32_t crc) noexcept {
    return table[0][crc & 0xFFU] ^ table[1][(crc >> 8U) & 0xFFU] ^ table[2][(crc >> 16U) & 0xFFU] ^ table[3][crc >> 24U];
}

std::uint64_t word_at(const std::byte* at) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) std::uint32_t crc32c_hardware(std::uint32_t crc, const std::byte* at,
                                                                std::size_t size) noexcept {
    std::uint64_t sum = ~crc;
    if (size >= 3 * block) {
        const ShiftTable& table = shift_table();
        do {
            std::uint64_t second = 0;
            std::uint64_t third = 0;
            for (std::size_t i = 0; i < block; i += 8) {
                sum = _mm_crc32_u64(sum, word_at(at + i));
                second = _mm_crc32_u64(second, word_at(at + block + i));
                third = _mm_crc32_u64(third, word_at(at + 2 * block + i));
            }
            sum = past_block(table, static_cast<std::uint32_t>(sum)) ^ second;
            sum = past_block(table, static_cast<std::uint32_t>(sum)) ^ third;
            at += 3 * block;
            size -= 3 * block;
        } while (size >= 3 * block);
    }
    for (; size >= 8; at += 8, size -= 8) sum = _mm_crc32_u64(sum, word_at(at));
    auto rest = static_cast<std::uint32_t>(sum);
    for (; size > 0; ++at, --size) rest = _mm_crc32_u8(rest, std::to_integer<unsigned char>(*at));
    return ~rest;
}

const bool has_hardware = __builtin_cpu_supports("sse4.2") != 0;

#endif

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
    std::uint32_t sum = ~crc;
    for (const std::byte value : bytes)
        sum = (sum >> 8U) ^ byte_table[(sum ^ std::to_integer<std::uint32_t>(value)) & 0xFFU];
    return ~sum;
}

std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
#if defined(__x86_64__)
    if (has_hardware) return crc32c_hardware(crc, bytes.data(), bytes.size());
#endif
    return crc32c_portable(crc, bytes);
}

}  // namespace hufu
