#include <hufu/remoting/codes.hpp>

#include <array>

namespace hufu::remoting {

std::string_view to_string(RequestCode code) noexcept {
    switch (code) {
        case RequestCode::send_message: return "SEND_MESSAGE";
        case RequestCode::pull_message: return "PULL_MESSAGE";
        case RequestCode::query_message: return "QUERY_MESSAGE";
        case RequestCode::query_consumer_offset: return "QUERY_CONSUMER_OFFSET";
        case RequestCode::update_consumer_offset: return "UPDATE_CONSUMER_OFFSET";
        case RequestCode::update_and_create_topic: return "UPDATE_AND_CREATE_TOPIC";
        case RequestCode::update_and_create_topic_list: return "UPDATE_AND_CREATE_TOPIC_LIST";
        case RequestCode::get_all_topic_config: return "GET_ALL_TOPIC_CONFIG";
        case RequestCode::update_broker_config: return "UPDATE_BROKER_CONFIG";
        case RequestCode::get_broker_config: return "GET_BROKER_CONFIG";
        case RequestCode::get_broker_runtime_info: return "GET_BROKER_RUNTIME_INFO";
        case RequestCode::search_offset_by_timestamp: return "SEARCH_OFFSET_BY_TIMESTAMP";
        case RequestCode::get_max_offset: return "GET_MAX_OFFSET";
        case RequestCode::get_min_offset: return "GET_MIN_OFFSET";
        case RequestCode::get_earliest_store_time: return "GET_EARLIEST_MSG_STORETIME";
        case RequestCode::view_message_by_id: return "VIEW_MESSAGE_BY_ID";
        case RequestCode::heartbeat: return "HEART_BEAT";
        case RequestCode::unregister_client: return "UNREGISTER_CLIENT";
        case RequestCode::consumer_send_message_back: return "CONSUMER_SEND_MSG_BACK";
        case RequestCode::end_transaction: return "END_TRANSACTION";
        case RequestCode::get_consumer_list_by_group: return "GET_CONSUMER_LIST_BY_GROUP";
        case RequestCode::check_transaction_state: return "CHECK_TRANSACTION_STATE";
        case RequestCode::notify_consumer_ids_changed: return "NOTIFY_CONSUMER_IDS_CHANGED";
        case RequestCode::lock_batch_queues: return "LOCK_BATCH_MQ";
        case RequestCode::unlock_batch_queues: return "UNLOCK_BATCH_MQ";
        case RequestCode::get_all_consumer_offset: return "GET_ALL_CONSUMER_OFFSET";
        case RequestCode::get_all_delay_offset: return "GET_ALL_DELAY_OFFSET";
        case RequestCode::check_client_config: return "CHECK_CLIENT_CONFIG";
        case RequestCode::get_timer_check_point: return "GET_TIMER_CHECK_POINT";
        case RequestCode::get_timer_metrics: return "GET_TIMER_METRICS";
        case RequestCode::put_kv_config: return "PUT_KV_CONFIG";
        case RequestCode::get_kv_config: return "GET_KV_CONFIG";
        case RequestCode::delete_kv_config: return "DELETE_KV_CONFIG";
        case RequestCode::get_route_by_topic: return "GET_ROUTEINFO_BY_TOPIC";
        case RequestCode::get_broker_cluster_info: return "GET_BROKER_CLUSTER_INFO";
        case RequestCode::update_and_create_subscription_group: return "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP";
        case RequestCode::get_all_subscription_group_config: return "GET_ALL_SUBSCRIPTIONGROUP_CONFIG";
        case RequestCode::get_topic_stats_info: return "GET_TOPIC_STATS_INFO";
        case RequestCode::get_consumer_connection_list: return "GET_CONSUMER_CONNECTION_LIST";
        case RequestCode::get_producer_connection_list: return "GET_PRODUCER_CONNECTION_LIST";
        case RequestCode::wipe_write_perm_of_broker: return "WIPE_WRITE_PERM_OF_BROKER";
        case RequestCode::get_all_topic_list: return "GET_ALL_TOPIC_LIST_FROM_NAMESERVER";
        case RequestCode::delete_subscription_group: return "DELETE_SUBSCRIPTIONGROUP";
        case RequestCode::get_consume_stats: return "GET_CONSUME_STATS";
        case RequestCode::delete_topic_in_broker: return "DELETE_TOPIC_IN_BROKER";
        case RequestCode::delete_topic_in_name_server: return "DELETE_TOPIC_IN_NAMESRV";
        case RequestCode::register_topic_in_name_server: return "REGISTER_TOPIC_IN_NAMESRV";
        case RequestCode::get_kv_list_by_namespace: return "GET_KVLIST_BY_NAMESPACE";
        case RequestCode::reset_consumer_client_offset: return "RESET_CONSUMER_CLIENT_OFFSET";
        case RequestCode::get_consumer_status_from_client: return "GET_CONSUMER_STATUS_FROM_CLIENT";
        case RequestCode::invoke_broker_to_reset_offset: return "INVOKE_BROKER_TO_RESET_OFFSET";
        case RequestCode::invoke_broker_to_get_consumer_status: return "INVOKE_BROKER_TO_GET_CONSUMER_STATUS";
        case RequestCode::get_topics_by_cluster: return "GET_TOPICS_BY_CLUSTER";
        case RequestCode::update_and_create_subscription_group_list: return "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST";
        case RequestCode::query_topic_consume_by_who: return "QUERY_TOPIC_CONSUME_BY_WHO";
        case RequestCode::query_consume_time_span: return "QUERY_CONSUME_TIME_SPAN";
        case RequestCode::get_system_topic_list_from_name_server: return "GET_SYSTEM_TOPIC_LIST_FROM_NS";
        case RequestCode::get_system_topic_list_from_broker: return "GET_SYSTEM_TOPIC_LIST_FROM_BROKER";
        case RequestCode::clean_expired_consume_queue: return "CLEAN_EXPIRED_CONSUMEQUEUE";
        case RequestCode::get_consumer_running_info: return "GET_CONSUMER_RUNNING_INFO";
        case RequestCode::query_correction_offset: return "QUERY_CORRECTION_OFFSET";
        case RequestCode::consume_message_directly: return "CONSUME_MESSAGE_DIRECTLY";
        case RequestCode::send_message_v2: return "SEND_MESSAGE_V2";
        case RequestCode::clone_group_offset: return "CLONE_GROUP_OFFSET";
        case RequestCode::view_broker_stats_data: return "VIEW_BROKER_STATS_DATA";
        case RequestCode::clean_unused_topic: return "CLEAN_UNUSED_TOPIC";
        case RequestCode::get_broker_consume_stats: return "GET_BROKER_CONSUME_STATS";
        case RequestCode::update_name_server_config: return "UPDATE_NAMESRV_CONFIG";
        case RequestCode::get_name_server_config: return "GET_NAMESRV_CONFIG";
        case RequestCode::send_batch_message: return "SEND_BATCH_MESSAGE";
        case RequestCode::query_consume_queue: return "QUERY_CONSUME_QUEUE";
        case RequestCode::resume_check_half_message: return "RESUME_CHECK_HALF_MESSAGE";
        case RequestCode::send_reply_message: return "SEND_REPLY_MESSAGE";
        case RequestCode::send_reply_message_v2: return "SEND_REPLY_MESSAGE_V2";
        case RequestCode::push_reply_message_to_client: return "PUSH_REPLY_MESSAGE_TO_CLIENT";
        case RequestCode::add_write_perm_of_broker: return "ADD_WRITE_PERM_OF_BROKER";
        case RequestCode::get_all_producer_info: return "GET_ALL_PRODUCER_INFO";
        case RequestCode::delete_expired_commit_log: return "DELETE_EXPIRED_COMMITLOG";
        case RequestCode::query_topics_by_consumer: return "QUERY_TOPICS_BY_CONSUMER";
        case RequestCode::query_subscription_by_consumer: return "QUERY_SUBSCRIPTION_BY_CONSUMER";
        case RequestCode::get_topic_config: return "GET_TOPIC_CONFIG";
        case RequestCode::get_subscription_group_config: return "GET_SUBSCRIPTIONGROUP_CONFIG";
        case RequestCode::lite_pull_message: return "LITE_PULL_MESSAGE";
        case RequestCode::recall_message: return "RECALL_MESSAGE";
        case RequestCode::list_transactions: return "HUFU_LIST_TRANSACTIONS";
        case RequestCode::show_transaction: return "HUFU_SHOW_TRANSACTION";
        case RequestCode::decide_transaction: return "HUFU_DECIDE_TRANSACTION";
        case RequestCode::resume_transaction: return "HUFU_RESUME_TRANSACTION";
    }
    return "unknown";
}

std::string_view to_string(ResponseCode code) noexcept {
    switch (code) {
        case ResponseCode::success: return "SUCCESS";
        case ResponseCode::system_error: return "SYSTEM_ERROR";
        case ResponseCode::system_busy: return "SYSTEM_BUSY";
        case ResponseCode::request_code_not_supported: return "REQUEST_CODE_NOT_SUPPORTED";
        case ResponseCode::flush_disk_timeout: return "FLUSH_DISK_TIMEOUT";
        case ResponseCode::slave_not_available: return "SLAVE_NOT_AVAILABLE";
        case ResponseCode::flush_slave_timeout: return "FLUSH_SLAVE_TIMEOUT";
        case ResponseCode::message_illegal: return "MESSAGE_ILLEGAL";
        case ResponseCode::service_not_available: return "SERVICE_NOT_AVAILABLE";
        case ResponseCode::version_not_supported: return "VERSION_NOT_SUPPORTED";
        case ResponseCode::no_permission: return "NO_PERMISSION";
        case ResponseCode::topic_not_exist: return "TOPIC_NOT_EXIST";
        case ResponseCode::topic_exist_already: return "TOPIC_EXIST_ALREADY";
        case ResponseCode::pull_not_found: return "PULL_NOT_FOUND";
        case ResponseCode::pull_retry_immediately: return "PULL_RETRY_IMMEDIATELY";
        case ResponseCode::pull_offset_moved: return "PULL_OFFSET_MOVED";
        case ResponseCode::query_not_found: return "QUERY_NOT_FOUND";
        case ResponseCode::subscription_parse_failed: return "SUBSCRIPTION_PARSE_FAILED";
        case ResponseCode::subscription_not_exist: return "SUBSCRIPTION_NOT_EXIST";
        case ResponseCode::subscription_not_latest: return "SUBSCRIPTION_NOT_LATEST";
        case ResponseCode::subscription_group_not_exist: return "SUBSCRIPTION_GROUP_NOT_EXIST";
        case ResponseCode::filter_data_not_exist: return "FILTER_DATA_NOT_EXIST";
        case ResponseCode::filter_data_not_latest: return "FILTER_DATA_NOT_LATEST";
        case ResponseCode::invalid_parameter: return "INVALID_PARAMETER";
        case ResponseCode::no_buyer_id: return "NO_BUYER_ID";
        case ResponseCode::not_in_current_unit: return "NOT_IN_CURRENT_UNIT";
        case ResponseCode::consumer_not_online: return "CONSUMER_NOT_ONLINE";
        case ResponseCode::consume_message_timeout: return "CONSUME_MSG_TIMEOUT";
        case ResponseCode::no_message: return "NO_MESSAGE";
        case ResponseCode::flow_control: return "FLOW_CONTROL";
        case ResponseCode::illegal_operation: return "ILLEGAL_OPERATION";
        case ResponseCode::go_away: return "GO_AWAY";
    }
    return "unknown";
}

namespace {
constexpr std::array<std::string_view, 14> languages{"JAVA",  "CPP",  "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY",
                                                     "OTHER", "HTTP", "GO",     "PHP",    "OMS",    "RUST",   "NODE_JS"};
constexpr std::uint8_t language_other = 7;
}  // namespace

std::string_view language_name(std::uint8_t ordinal) noexcept {
    return ordinal < languages.size() ? languages[ordinal] : languages[language_other];
}

std::uint8_t language_ordinal(std::string_view name) noexcept {
    for (std::uint8_t i = 0; i < languages.size(); ++i) {
        if (languages[i] == name) {
            return i;
        }
    }
    return language_other;
}

}  // namespace hufu::remoting
