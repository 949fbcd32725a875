// Big-endian integers in byte buffers. No bounds checks: the caller has made sure of the room.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

namespace hufu::remoting {

template <class T>
[[nodiscard]] inline T big_endian(T value) noexcept {
    static_assert(std::is_integral_v<T>);
    if constexpr (sizeof(T) == 1 || std::endian::native == std::endian::big) {
        return value;
    } else if constexpr (sizeof(T) == 2) {
        return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
    } else if constexpr (sizeof(T) == 4) {
        return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
    } else {
        return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
    }
}

template <class T>
[[nodiscard]] inline T load(const void* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof value);
    return big_endian(value);
}

template <class T>
inline void store(void* into, T value) noexcept {
    value = big_endian(value);
    std::memcpy(into, &value, sizeof value);
}

template <class T>
inline void append(std::string& out, T value) {
    value = big_endian(value);
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
}

}  // namespace hufu::remoting
