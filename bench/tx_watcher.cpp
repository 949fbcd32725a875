#include "tx_watcher.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <stdexcept>
#include <vector>

#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

#include "load_client.hpp"
#include "queue_reader.hpp"
#include "report.hpp"

namespace hufu::bench {
namespace {

using remoting::RequestCode;
using remoting::ResponseCode;

}  // namespace

TxWatcher::TxWatcher(std::uint16_t port, const LoadShape& shape) : shape_{shape} {
    auto reader = QueueReader::connect(port).value();
    for (std::int32_t queue = 0; queue < shape.queues; ++queue) {
        next_.push_back(reader.end(shape.topic, queue).value());
    }
    socket_ = connect_socket(port).value();
    thread_ = std::thread{[this] {
        if (auto watched = watch(); !watched && !stopping_) {
            tell("  the watching consumer: " + watched.error().text());
        }
    }};
}

TxWatcher::~TxWatcher() {
    stop();
    ::close(socket_);
}

const std::unordered_map<std::uint64_t, SteadyTime>& TxWatcher::stop() {
    stopping_ = true;
    ::shutdown(socket_, SHUT_RDWR);
    if (thread_.joinable()) {
        thread_.join();
    }
    return at_;
}

Result<void> TxWatcher::pull(std::int32_t queue) {
    std::string frame;
    remoting::append_request(
        frame, remoting::SerializeType::binary, RequestCode::pull_message, queue,
        remoting::PullRequest{.consumer_group = "bench-watch",
                              .topic = shape_.topic,
                              .queue_id = queue,
                              .queue_offset = next_[static_cast<std::size_t>(queue)],
                              .sys_flag = remoting::pull_flag::subscription | remoting::pull_flag::suspend,
                              .subscription = "*"});
    if (::send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(frame.size())) {
        return Error{ErrorCode::unavailable, Disposition::retry, "cannot send a pull"};
    }
    return {};
}

void TxWatcher::take(std::string_view body) {
    const SteadyTime now = system_clock().steady_now();
    auto bytes = std::as_bytes(std::span{body.data(), body.size()});
    while (!bytes.empty()) {
        const auto record = remoting::decode_record(bytes);
        if (!record) {
            return;
        }
        const std::string_view key =
            remoting::PropertiesView{record->properties}.get(remoting::property::unique_key).value_or("");
        constexpr std::size_t digits = 16;
        std::uint64_t id = 0;
        if (key.size() == 2 * digits) {
            std::from_chars(key.data() + digits, key.data() + key.size(), id, 16);
            at_.emplace(id, now);
            seen_.fetch_add(1, std::memory_order_relaxed);
        }
        bytes = bytes.subspan(remoting::peek_record_size(bytes));
    }
}

Result<void> TxWatcher::watch() {
    for (std::int32_t queue = 0; queue < shape_.queues; ++queue) {
        if (auto sent = pull(queue); !sent) {
            return sent;
        }
    }
    remoting::FrameDecoder decoder{64U << 20U};
    remoting::CommandView command;
    while (!stopping_) {
        const auto frame = decoder.next();
        if (!frame) {
            return frame.error();
        }
        if (!*frame) {
            const auto room = decoder.prepare(256 * 1024);
            const ssize_t count = ::recv(socket_, room.data(), room.size(), 0);
            if (count <= 0) {
                return Error{ErrorCode::unavailable, Disposition::retry, "closed by the broker"};
            }
            decoder.commit(static_cast<std::size_t>(count));
            continue;
        }
        if (const auto decoded = remoting::decode_command(**frame, command); !decoded) {
            return decoded.error();
        }
        if (!command.is_response()) {
            continue;
        }
        if (command.response_code() == ResponseCode::success) {
            take(command.body);
        }
        if (const auto header = remoting::PullResponse::decode(command)) {
            next_[static_cast<std::size_t>(command.opaque)] = header->next_begin_offset;
        }
        if (auto sent = pull(command.opaque); !sent) {
            return sent;
        }
    }
    return {};
}

}  // namespace hufu::bench
