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
    query_message = 12,  ///< by key or unique key
    query_consumer_offset = 14,
    update_consumer_offset = 15,
    update_and_create_topic = 17,
    update_and_create_topic_list = 18,
    get_all_topic_config = 21,
    update_broker_config = 25,
    get_broker_config = 26,
    get_broker_runtime_info = 28,
    search_offset_by_timestamp = 29,
    get_max_offset = 30,
    get_min_offset = 31,
    get_earliest_store_time = 32,
    view_message_by_id = 33,
    heartbeat = 34,
    unregister_client = 35,
    consumer_send_message_back = 36,
    end_transaction = 37,
    get_consumer_list_by_group = 38,
    check_transaction_state = 39,      ///< broker to client, one-way
    notify_consumer_ids_changed = 40,  ///< broker to client, one-way
    lock_batch_queues = 41,
    unlock_batch_queues = 42,
    get_all_consumer_offset = 43,
    get_all_delay_offset = 45,
    check_client_config = 46,
    get_timer_check_point = 60,
    get_timer_metrics = 61,
    put_kv_config = 100,
    get_kv_config = 101,
    delete_kv_config = 102,
    get_route_by_topic = 105,
    get_broker_cluster_info = 106,
    update_and_create_subscription_group = 200,
    get_all_subscription_group_config = 201,
    get_topic_stats_info = 202,
    get_consumer_connection_list = 203,
    get_producer_connection_list = 204,
    wipe_write_perm_of_broker = 205,
    get_all_topic_list = 206,
    delete_subscription_group = 207,
    get_consume_stats = 208,
    delete_topic_in_broker = 215,
    delete_topic_in_name_server = 216,
    register_topic_in_name_server = 217,
    get_kv_list_by_namespace = 219,
    reset_consumer_client_offset = 220,     ///< broker to client, one-way
    get_consumer_status_from_client = 221,  ///< broker to client
    invoke_broker_to_reset_offset = 222,
    invoke_broker_to_get_consumer_status = 223,
    get_topics_by_cluster = 224,
    update_and_create_subscription_group_list = 225,
    query_topic_consume_by_who = 300,
    query_consume_time_span = 303,
    get_system_topic_list_from_name_server = 304,
    get_system_topic_list_from_broker = 305,
    clean_expired_consume_queue = 306,
    get_consumer_running_info = 307,  ///< to the broker, which asks the client
    query_correction_offset = 308,
    consume_message_directly = 309,  ///< to the broker, which asks the client
    send_message_v2 = 310,           ///< field names of one letter
    clone_group_offset = 314,
    view_broker_stats_data = 315,
    clean_unused_topic = 316,
    get_broker_consume_stats = 317,
    update_name_server_config = 318,
    get_name_server_config = 319,
    send_batch_message = 320,
    query_consume_queue = 321,
    resume_check_half_message = 323,
    send_reply_message = 324,            ///< field names in full
    send_reply_message_v2 = 325,         ///< field names of one letter
    push_reply_message_to_client = 326,  ///< broker to client
    add_write_perm_of_broker = 327,
    get_all_producer_info = 328,
    delete_expired_commit_log = 329,
    query_topics_by_consumer = 343,
    query_subscription_by_consumer = 345,
    get_topic_config = 351,
    get_subscription_group_config = 352,
    lite_pull_message = 361,
    recall_message = 370,  ///< cancels a timer message
    // Hufu's own, beyond every number RocketMQ uses and within the 16 bits of the binary header. JSON bodies:
    // transaction_bodies.hpp.
    list_transactions = 29'001,
    show_transaction = 29'002,
    decide_transaction = 29'003,  ///< an operator's verdict
    resume_transaction = 29'004,  ///< a parked one is checked again
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
    filter_data_not_exist = 27,
    filter_data_not_latest = 28,
    invalid_parameter = 29,
    no_buyer_id = 204,
    not_in_current_unit = 205,
    consumer_not_online = 206,
    consume_message_timeout = 207,
    no_message = 208,
    flow_control = 215,
    illegal_operation = 604,
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
inline constexpr std::int32_t transaction_none = 0;  ///< in END_TRANSACTION: not known
inline constexpr std::int32_t transaction_prepared = 4;
inline constexpr std::int32_t transaction_commit = 8;
inline constexpr std::int32_t transaction_rollback = 12;
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
