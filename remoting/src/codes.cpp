#include <hufu/remoting/codes.hpp>

#include <array>

namespace hufu::remoting {

std::string_view to_string(RequestCode code) noexcept {
    switch (code) {
        case RequestCode::send_message: return "SEND_MESSAGE";
        case RequestCode::pull_message: return "PULL_MESSAGE";
        case RequestCode::query_consumer_offset: return "QUERY_CONSUMER_OFFSET";
        case RequestCode::update_consumer_offset: return "UPDATE_CONSUMER_OFFSET";
        case RequestCode::search_offset_by_timestamp: return "SEARCH_OFFSET_BY_TIMESTAMP";
        case RequestCode::get_max_offset: return "GET_MAX_OFFSET";
        case RequestCode::get_min_offset: return "GET_MIN_OFFSET";
        case RequestCode::heartbeat: return "HEART_BEAT";
        case RequestCode::unregister_client: return "UNREGISTER_CLIENT";
        case RequestCode::get_consumer_list_by_group: return "GET_CONSUMER_LIST_BY_GROUP";
        case RequestCode::notify_consumer_ids_changed: return "NOTIFY_CONSUMER_IDS_CHANGED";
        case RequestCode::lock_batch_queues: return "LOCK_BATCH_MQ";
        case RequestCode::unlock_batch_queues: return "UNLOCK_BATCH_MQ";
        case RequestCode::get_route_by_topic: return "GET_ROUTEINFO_BY_TOPIC";
        case RequestCode::send_message_v2: return "SEND_MESSAGE_V2";
        case RequestCode::send_batch_message: return "SEND_BATCH_MESSAGE";
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
        case ResponseCode::invalid_parameter: return "INVALID_PARAMETER";
        case ResponseCode::no_buyer_id: return "NO_BUYER_ID";
        case ResponseCode::not_in_current_unit: return "NOT_IN_CURRENT_UNIT";
        case ResponseCode::consumer_not_online: return "CONSUMER_NOT_ONLINE";
        case ResponseCode::flow_control: return "FLOW_CONTROL";
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
