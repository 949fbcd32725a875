#include <hufu/remoting/checksum.hpp>

#include <array>
#include <bit>
#include <cstring>

#if defined(HUFU_CRC32_CLMUL)
#include <immintrin.h>
#endif

namespace hufu::remoting {
namespace {

// Slicing by eight: table[k][b] is the CRC of byte b followed by k zero bytes.
constexpr auto tables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> result{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB8'8320U : 0U);
        }
        result[0][byte] = crc;
    }
    for (std::size_t byte = 0; byte < 256; ++byte) {
        for (std::size_t k = 1; k < 8; ++k) {
            result[k][byte] = (result[k - 1][byte] >> 8) ^ result[0][result[k - 1][byte] & 0xFF];
        }
    }
    return result;
}();

/// Continues an inverted CRC over `bytes`.
std::uint32_t by_tables(std::uint32_t crc, const char* bytes, std::size_t size) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        while (size >= 8) {
            std::uint32_t low = 0;
            std::uint32_t high = 0;
            std::memcpy(&low, bytes, 4);
            std::memcpy(&high, bytes + 4, 4);
            low ^= crc;
            crc = tables[7][low & 0xFF] ^ tables[6][(low >> 8) & 0xFF] ^ tables[5][(low >> 16) & 0xFF] ^
                  tables[4][low >> 24] ^ tables[3][high & 0xFF] ^ tables[2][(high >> 8) & 0xFF] ^
                  tables[1][(high >> 16) & 0xFF] ^ tables[0][high >> 24];
            bytes += 8;
            size -= 8;
        }
    }
    for (; size > 0; --size, ++bytes) {
        crc = (crc >> 8) ^ tables[0][(crc ^ static_cast<unsigned char>(*bytes)) & 0xFF];
    }
    return crc;
}

#if defined(HUFU_CRC32_CLMUL)
// Folding by carry-less multiplication: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", Intel 2009. The constants are x^n mod P, bit-reflected, for the distances folded over.
constexpr std::size_t clmul_bytes_min = 64;

__attribute__((target("pclmul,sse4.1"))) inline __m128i fold(__m128i value, __m128i next, __m128i constants) noexcept {
    const __m128i low = _mm_clmulepi64_si128(value, constants, 0x00);
    const __m128i high = _mm_clmulepi64_si128(value, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

__attribute__((target("pclmul,sse4.1"))) inline __m128i load_block(const char* bytes) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

/// Continues an inverted CRC over `size` bytes: at least 64, a multiple of 16.
__attribute__((target("pclmul,sse4.1"))) std::uint32_t by_multiplication(std::uint32_t crc, const char* bytes,
                                                                         std::size_t size) noexcept {
    const __m128i over_512 = _mm_set_epi64x(0x01'c6e4'1596, 0x01'5444'2bd4);
    const __m128i over_128 = _mm_set_epi64x(0x00'ccaa'009e, 0x01'7519'97d0);
    const __m128i over_64 = _mm_set_epi64x(0, 0x01'63cd'6124);
    const __m128i polynomial = _mm_set_epi64x(0x01'f701'1641, 0x01'db71'0641);
    const __m128i low_32 = _mm_setr_epi32(-1, 0, -1, 0);

    __m128i a = _mm_xor_si128(load_block(bytes), _mm_cvtsi32_si128(static_cast<int>(crc)));
    __m128i b = load_block(bytes + 16);
    __m128i c = load_block(bytes + 32);
    __m128i d = load_block(bytes + 48);
    bytes += 64;
    size -= 64;
    for (; size >= 64; bytes += 64, size -= 64) {
        a = fold(a, load_block(bytes), over_512);
        b = fold(b, load_block(bytes + 16), over_512);
        c = fold(c, load_block(bytes + 32), over_512);
        d = fold(d, load_block(bytes + 48), over_512);
    }
    a = fold(a, b, over_128);
    a = fold(a, c, over_128);
    a = fold(a, d, over_128);
    for (; size >= 16; bytes += 16, size -= 16) {
        a = fold(a, load_block(bytes), over_128);
    }
    // 128 bits to 64, to 32 by Barrett reduction.
    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, over_128, 0x10));
    a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_32), over_64, 0x00));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(a, low_32), polynomial, 0x10);
    quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_32), polynomial, 0x00);
    return static_cast<std::uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, quotient), 1));
}

const bool has_clmul = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
#endif

}  // namespace

std::uint32_t crc32(std::string_view bytes) noexcept {
    std::uint32_t crc = 0xFFFF'FFFFU;
#if defined(HUFU_CRC32_CLMUL)
    if (has_clmul && bytes.size() >= clmul_bytes_min) {
        const std::size_t blocks = bytes.size() & ~std::size_t{15};
        crc = by_multiplication(crc, bytes.data(), blocks);
        bytes.remove_prefix(blocks);
    }
#endif
    return ~by_tables(crc, bytes.data(), bytes.size());
}

}  // namespace hufu::remoting
