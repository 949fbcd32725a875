// The few fields of a stored record that the log itself reads or writes. Everything else in it is bytes to the log.
//
// The layout is RocketMQ's commit log record, big-endian (MessageDecoder / MessageExtEncoder): totalSize 0, queueId 12,
// queueOffset 20, physicalOffset 28, sysFlag 36, bornHost 48 (8 bytes, or 20 when sysFlag bit 4 says IPv6),
// storeTimestamp after it, storeHost (8 bytes, or 20 when bit 5 says IPv6), reconsumeTimes 4, preparedTransactionOffset 8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hufu::broker::log_record {

inline constexpr std::size_t size_at = 0;
inline constexpr std::size_t queue_id_at = 12;
inline constexpr std::size_t queue_offset_at = 20;
inline constexpr std::size_t log_offset_at = 28;
inline constexpr std::size_t sys_flag_at = 36;
inline constexpr std::size_t born_host_at = 48;
inline constexpr std::uint32_t born_host_v6_flag = 1U << 4U;
inline constexpr std::uint32_t store_host_v6_flag = 1U << 5U;
/// Of sysFlag: 0 no transaction, 4 prepared, 8 committed, 12 rolled back.
inline constexpr std::uint32_t transaction_bits = 3U << 2U;
inline constexpr std::uint32_t transaction_commit = 2U << 2U;
/// No record is shorter: the fixed fields, and empty body, topic and properties.
inline constexpr std::size_t bytes_min = 91;

[[nodiscard]] inline std::uint32_t load_u32(const std::byte* at) noexcept {
    return (std::to_integer<std::uint32_t>(at[0]) << 24U) | (std::to_integer<std::uint32_t>(at[1]) << 16U) |
           (std::to_integer<std::uint32_t>(at[2]) << 8U) | std::to_integer<std::uint32_t>(at[3]);
}
[[nodiscard]] inline std::uint64_t load_u64(const std::byte* at) noexcept {
    return (static_cast<std::uint64_t>(load_u32(at)) << 32U) | load_u32(at + 4);
}
inline void store_u32(std::byte* at, std::uint32_t value) noexcept {
    for (int i = 0; i < 4; ++i) at[i] = static_cast<std::byte>((value >> (24 - 8 * i)) & 0xFFU);
}
inline void store_u64(std::byte* at, std::uint64_t value) noexcept {
    store_u32(at, static_cast<std::uint32_t>(value >> 32U));
    store_u32(at + 4, static_cast<std::uint32_t>(value));
}

/// Where storeTimestamp (milliseconds since 1970 UTC) stands in this record.
[[nodiscard]] inline std::size_t store_timestamp_at(std::span<const std::byte> record) noexcept {
    return born_host_at + ((load_u32(record.data() + sys_flag_at) & born_host_v6_flag) != 0 ? 20U : 8U);
}

/// Where preparedTransactionOffset stands in this record.
[[nodiscard]] inline std::size_t prepared_offset_at(std::span<const std::byte> record) noexcept {
    const bool v6 = (load_u32(record.data() + sys_flag_at) & store_host_v6_flag) != 0;
    return store_timestamp_at(record) + 8U + (v6 ? 20U : 8U) + 4U;
}

}  // namespace hufu::broker::log_record
