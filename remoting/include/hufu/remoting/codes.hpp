// Request and response codes of the RocketMQ remoting protocol, as far as Hufu speaks it.
// Source of the numbers: apache/rocketmq, RequestCode, ResponseCode and RemotingSysResponseCode.
#pragma once

#include <cstdint>
#include <string_view>

namespace hufu::remoting {

/// What a request asks for. Values off the wire may be any number: compare, do not index.
enum class RequestCode : std::int32_t {
    send_message = 10,  ///< field names in full
    pull_message = 11,
    query_consumer_offset = 14,
    update_consumer_offset = 15,
    search_offset_by_timestamp = 29,
    get_max_offset = 30,
    get_min_offset = 31,
    heartbeat = 34,
    unregister_client = 35,
    get_consumer_list_by_group = 38,
    notify_consumer_ids_changed = 40,  ///< broker to client, one-way
    lock_batch_queues = 41,
    unlock_batch_queues = 42,
    get_route_by_topic = 105,
    send_message_v2 = 310,  ///< field names of one letter
    send_batch_message = 320,
};

/// What a response says. Values off the wire may be any number.
enum class ResponseCode : std::int32_t {
    success = 0,
    system_error = 1,
    system_busy = 2,
    request_code_not_supported = 3,
    flush_disk_timeout = 10,
    slave_not_available = 11,
    flush_slave_timeout = 12,
    message_illegal = 13,
    service_not_available = 14,
    version_not_supported = 15,
    no_permission = 16,
    topic_not_exist = 17,
    topic_exist_already = 18,
    pull_not_found = 19,
    pull_retry_immediately = 20,
    pull_offset_moved = 21,
    query_not_found = 22,
    subscription_parse_failed = 23,
    subscription_not_exist = 24,
    subscription_not_latest = 25,
    subscription_group_not_exist = 26,
    invalid_parameter = 29,
    no_buyer_id = 204,
    not_in_current_unit = 205,
    consumer_not_online = 206,
    flow_control = 215,
    go_away = 1500,
};

/// How the header of a frame is written.
enum class SerializeType : std::uint8_t { json = 0, binary = 1 };

/// Bits of a command's flag.
namespace flag_bit {
inline constexpr std::int32_t response = 1;
inline constexpr std::int32_t one_way = 2;
}  // namespace flag_bit

/// Bits of a message's sysFlag (MessageSysFlag).
namespace sys_flag {
inline constexpr std::int32_t compressed = 1;
inline constexpr std::int32_t multi_tags = 2;
inline constexpr std::int32_t transaction_mask = 12;
inline constexpr std::int32_t born_host_v6 = 16;
inline constexpr std::int32_t store_host_v6 = 32;
}  // namespace sys_flag

/// Bits of a pull request's sysFlag (PullSysFlag).
namespace pull_flag {
inline constexpr std::int32_t commit_offset = 1;
inline constexpr std::int32_t suspend = 2;
inline constexpr std::int32_t subscription = 4;
inline constexpr std::int32_t class_filter = 8;
inline constexpr std::int32_t lite_pull = 16;
}  // namespace pull_flag

/// Bits of a topic's permission (PermName).
namespace permission {
inline constexpr std::int32_t inherit = 1;
inline constexpr std::int32_t write = 2;
inline constexpr std::int32_t read = 4;
}  // namespace permission

/// The version Hufu states in its frames: V4_9_8. Old enough that no peer expects the 5.x extras of it, new enough for
/// standard JSON routes (401) and for the broker version gate of consumers (232).
inline constexpr std::int32_t protocol_version = 409;
/// Ordinal of CPP in LanguageCode.
inline constexpr std::uint8_t language_cpp = 1;

/// "SEND_MESSAGE_V2", or "unknown" for a code Hufu does not speak.
[[nodiscard]] std::string_view to_string(RequestCode code) noexcept;
[[nodiscard]] std::string_view to_string(ResponseCode code) noexcept;
/// "CPP" for 1; "OTHER" for ordinals that are not assigned.
[[nodiscard]] std::string_view language_name(std::uint8_t ordinal) noexcept;
[[nodiscard]] std::uint8_t language_ordinal(std::string_view name) noexcept;

}  // namespace hufu::remoting
