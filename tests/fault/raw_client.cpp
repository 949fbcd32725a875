#include "raw_client.hpp"

#include <hufu/remoting/batch.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/record.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

namespace hufu::fault {
namespace {

constexpr std::int32_t pull_with_subscription = 4;  // PullSysFlag: the expression is in the request; no long poll

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

remoting::SendRequest request_to(std::string_view topic, std::int32_t queue_id) {
    remoting::SendRequest request;
    request.producer_group = "fault";
    request.topic = topic;
    request.queue_id = queue_id;
    request.default_topic_queues = 8;
    request.born_timestamp = 1;
    return request;
}

}  // namespace

RawClient::RawClient(std::uint16_t port) : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    const sockaddr_in address = loopback(port);
    failed_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // A hung broker is a finding, not a hung test.
    const timeval limit{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

RawClient::~RawClient() {
    if (socket_ >= 0) ::close(socket_);
}

void RawClient::send(std::int32_t opaque, std::string_view topic, std::int32_t queue_id, std::string_view body,
                     std::string_view properties) {
    remoting::SendRequest request = request_to(topic, queue_id);
    request.properties = properties;
    remoting::append_request(out_, remoting::SerializeType::json, remoting::RequestCode::send_message_v2, opaque, request,
                             body);
}

void RawClient::send_batch(std::int32_t opaque, std::string_view topic, std::int32_t queue_id,
                           const std::vector<std::string>& bodies) {
    std::string batch;
    for (const std::string& body : bodies) remoting::append_batch_entry(batch, {.flag = 0, .body = body, .properties = {}});
    remoting::SendRequest request = request_to(topic, queue_id);
    request.batch = true;
    remoting::append_request(out_, remoting::SerializeType::json, remoting::RequestCode::send_batch_message, opaque, request,
                             batch);
}

bool RawClient::flush() {
    std::size_t done = 0;
    while (!failed_ && done < out_.size()) {
        const ssize_t count = ::send(socket_, out_.data() + done, out_.size() - done, MSG_NOSIGNAL);
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            failed_ = true;
        }
    }
    out_.clear();
    return !failed_;
}

const remoting::CommandView* RawClient::receive() {
    while (!failed_) {
        auto frame = decoder_.next();
        if (!frame) break;
        if (frame->has_value()) {
            if (!remoting::decode_command(**frame, command_)) break;
            return &command_;
        }
        const auto room = decoder_.prepare(64 * 1024);
        const ssize_t count = ::recv(socket_, room.data(), room.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        decoder_.commit(static_cast<std::size_t>(count));
    }
    failed_ = true;
    return nullptr;
}

std::optional<std::vector<Stored>> RawClient::read_all(std::string_view topic, std::int32_t queue_id, std::int64_t offset) {
    std::vector<Stored> stored;
    for (std::int32_t opaque = 1;; ++opaque) {
        remoting::PullRequest request;
        request.consumer_group = "fault-reader";
        request.topic = topic;
        request.queue_id = queue_id;
        request.queue_offset = offset;
        request.messages_max = 1024;
        request.sys_flag = pull_with_subscription;
        request.subscription = "*";
        remoting::append_request(out_, remoting::SerializeType::json, remoting::RequestCode::pull_message, opaque, request);
        if (!flush()) return std::nullopt;
        const auto* answer = receive();
        if (answer == nullptr) return std::nullopt;
        if (answer->response_code() == remoting::ResponseCode::topic_not_exist) return stored;
        const auto pulled = remoting::PullResponse::decode(*answer);
        if (!pulled) return std::nullopt;
        const auto bytes = std::as_bytes(std::span{answer->body});
        for (std::size_t at = 0; at < bytes.size();) {
            const auto record = remoting::decode_record(bytes.subspan(at));
            if (!record) return std::nullopt;
            stored.push_back({record->queue_offset, std::string{record->body}});
            at += remoting::record_size(*record);
        }
        if (answer->response_code() == remoting::ResponseCode::pull_not_found ||
            pulled->next_begin_offset >= pulled->max_offset) {
            return stored;
        }
        offset = pulled->next_begin_offset;
    }
}

}  // namespace hufu::fault
