// The stored message: what the log holds and what a pull answers with, byte for byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// Byte offsets inside a record whose hosts are IPv4 (MessageDecoder). All integers are big-endian.
namespace record_offset {
inline constexpr std::size_t total_size = 0;                    ///< i32, of the whole record
inline constexpr std::size_t magic = 4;                         ///< i32
inline constexpr std::size_t body_crc = 8;                      ///< i32
inline constexpr std::size_t queue_id = 12;                     ///< i32
inline constexpr std::size_t flag = 16;                         ///< i32
inline constexpr std::size_t queue_offset = 20;                 ///< i64
inline constexpr std::size_t physical_offset = 28;              ///< i64
inline constexpr std::size_t sys_flag = 36;                     ///< i32
inline constexpr std::size_t born_timestamp = 40;               ///< i64, ms
inline constexpr std::size_t born_host = 48;                    ///< 4 bytes ip, i32 port
inline constexpr std::size_t store_timestamp = 56;              ///< i64, ms
inline constexpr std::size_t store_host = 64;                   ///< 4 bytes ip, i32 port
inline constexpr std::size_t reconsume_times = 72;              ///< i32
inline constexpr std::size_t prepared_transaction_offset = 76;  ///< i64
inline constexpr std::size_t body_size = 84;  ///< i32, then the body, u8 (or i16) + topic, i16 + properties
inline constexpr std::size_t body = 88;
}  // namespace record_offset

inline constexpr std::int32_t record_magic_v1 = -626'843'481;  ///< 0xDAA320A7: topic length in one byte
inline constexpr std::int32_t record_magic_v2 =
    -626'843'477;  ///< 0xDAA320AB: topic length in two bytes, for topics over 127
/// Bytes of a record besides body, topic and properties (version 1).
inline constexpr std::size_t record_overhead = record_offset::body + 1 + 2;
inline constexpr std::size_t body_bytes_max = 4 * 1024 * 1024;
inline constexpr std::size_t topic_bytes_max = 255;

/// An IPv4 address and port.
struct Host {
    std::array<std::uint8_t, 4> ip{127, 0, 0, 1};
    std::int32_t port = 0;
    friend bool operator==(const Host&, const Host&) = default;
};

/// Everything a record says. Views are borrowed during the call only (encode) or point into the record (decode).
struct Record {
    std::int32_t body_crc = 0;  ///< body_checksum(body), checksum.hpp
    std::int32_t queue_id = 0;
    std::int32_t flag = 0;
    std::int64_t queue_offset = 0;
    std::int64_t physical_offset = 0;  ///< where in the log the record begins
    std::int32_t sys_flag = 0;
    std::int64_t born_timestamp = 0;
    Host born_host;  ///< of an IPv6 host when decoding: 0.0.0.0 and the port
    std::int64_t store_timestamp = 0;
    Host store_host;
    std::int32_t reconsume_times = 0;
    std::int64_t prepared_transaction_offset = 0;
    std::string_view body;
    std::string_view topic;
    std::string_view properties;
    std::string_view more_properties = {};  ///< written right after `properties` (a broker's additions); empty when decoded
};

/// Bytes `encode_record` will write.
[[nodiscard]] std::size_t record_size(const Record& record) noexcept;

/// Writes `record` to the front of `into`, which must have at least record_size bytes; returns that size. No allocation.
/// The sizes must be within body_bytes_max, topic_bytes_max and properties_bytes_max (asserted); the IPv6 bits of
/// sys_flag are cleared, because hosts are written as IPv4.
std::size_t encode_record(std::span<std::byte> into, const Record& record) noexcept;

/// Patches what is known only at the end: the place of the record in log and queue, and when it was stored.
void place_record(std::byte* record, std::int64_t physical_offset, std::int64_t queue_offset,
                  std::int64_t store_timestamp) noexcept;

/// Reads the record at the front of `bytes` without copying (`bytes` may hold more). `corrupt` names what does not fit.
/// The body's CRC is not checked.
[[nodiscard]] Result<Record> decode_record(std::span<const std::byte> bytes);

/// The size field of the record at the front of `bytes`, or 0 when there are fewer than 8 bytes, the magic is unknown or
/// the size is below the smallest record. Does not look at anything else.
[[nodiscard]] std::size_t peek_record_size(std::span<const std::byte> bytes) noexcept;

}  // namespace hufu::remoting
