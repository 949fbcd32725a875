#include "errors.hpp"

#include <hufu/remoting/codes.hpp>

namespace hufu::rocketmq {
namespace {

using remoting::ResponseCode;

struct Row {
    ResponseCode response;
    PublishStatus publish_status;
    ErrorCode code;
    Disposition disposition;
    const char* way_out;
};

constexpr auto in_doubt = PublishStatus::in_doubt;
constexpr auto not_sent = PublishStatus::not_sent;
constexpr auto rejected = PublishStatus::rejected;

// A send is `not_sent` only where no broker stores the message before it answers so. 10, 11 and 12 are stored, but not
// as safely as asked; 1 and 14 may come from a broker that wrote the message and then failed.
constexpr Row table[] = {
    {ResponseCode::system_error, in_doubt, ErrorCode::internal, Disposition::in_doubt, "see the broker's log"},
    {ResponseCode::system_busy, not_sent, ErrorCode::busy, Disposition::retry, "the broker is overloaded; send again later"},
    {ResponseCode::request_code_not_supported, rejected, ErrorCode::unsupported, Disposition::reject,
     "this server does not offer it"},
    {ResponseCode::flush_disk_timeout, in_doubt, ErrorCode::timeout, Disposition::in_doubt,
     "stored, but not known to be on disk"},
    {ResponseCode::slave_not_available, in_doubt, ErrorCode::unavailable, Disposition::in_doubt,
     "stored, but on the master only"},
    {ResponseCode::flush_slave_timeout, in_doubt, ErrorCode::timeout, Disposition::in_doubt,
     "stored, but not known to be replicated"},
    {ResponseCode::message_illegal, rejected, ErrorCode::invalid_argument, Disposition::reject,
     "the broker's limits: body 4 MiB, properties 32767 bytes, topic 127 characters"},
    {ResponseCode::service_not_available, in_doubt, ErrorCode::unavailable, Disposition::in_doubt,
     "the broker takes no messages now (shutting down, disk full, or closed after a failed sync)"},
    {ResponseCode::version_not_supported, rejected, ErrorCode::wrong_version, Disposition::reject,
     "use a broker of version 4.9 or later"},
    {ResponseCode::no_permission, not_sent, ErrorCode::permission, Disposition::retry,
     "check the client's access key and secret, and its right to the topic and group, then retry"},
    {ResponseCode::topic_not_exist, not_sent, ErrorCode::not_found, Disposition::retry,
     "create the topic, or let the broker create topics by itself"},
    {ResponseCode::query_not_found, rejected, ErrorCode::not_found, Disposition::reject, "look for it under another id"},
    {ResponseCode::subscription_group_not_exist, not_sent, ErrorCode::not_found, Disposition::retry,
     "create the consumer group"},
    {ResponseCode::invalid_parameter, rejected, ErrorCode::invalid_argument, Disposition::reject,
     "correct the value that is named"},
    {ResponseCode::no_buyer_id, not_sent, ErrorCode::unavailable, Disposition::retry, "send again later"},
    {ResponseCode::not_in_current_unit, not_sent, ErrorCode::unavailable, Disposition::retry, "send again later"},
    {ResponseCode::flow_control, not_sent, ErrorCode::busy, Disposition::retry,
     "the broker limits the rate; send again later"},
    {ResponseCode::illegal_operation, rejected, ErrorCode::conflict, Disposition::reject,
     "hufu tx show says what was decided before"},
    {ResponseCode::go_away, not_sent, ErrorCode::unavailable, Disposition::retry,
     "the broker is shutting down; send again later"},
};

}  // namespace

Refusal response_error(const remoting::CommandView& response, const std::string& doing) {
    const ResponseCode code = response.response_code();
    Row row{code, in_doubt, ErrorCode::protocol, Disposition::in_doubt, "an answer this client does not know"};
    for (const Row& known : table) {
        if (known.response == code) {
            row = known;
        }
    }
    std::string text = doing + " was answered with " + std::to_string(response.code) + " " + std::string{to_string(code)};
    if (!response.remark.empty()) {
        text += " (" + std::string{response.remark.substr(0, 300)} + ")";
    }
    return {row.publish_status, Error{row.code, row.disposition, text + ": " + row.way_out}};
}

}  // namespace hufu::rocketmq
