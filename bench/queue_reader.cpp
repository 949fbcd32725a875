#include "queue_reader.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/record.hpp>

#include "load_client.hpp"

namespace hufu::bench {
namespace {

using remoting::RequestCode;
using remoting::ResponseCode;

constexpr std::size_t read_room = 256 * 1024;

Error lost(const std::string& why) {
    return Error{ErrorCode::unavailable, Disposition::retry, "connection to the broker: " + why};
}

/// Messages in the body of a pull's answer.
Result<std::uint64_t> count_records(std::string_view body) {
    auto bytes = std::as_bytes(std::span{body.data(), body.size()});
    std::uint64_t messages = 0;
    while (!bytes.empty()) {
        const std::size_t size = remoting::peek_record_size(bytes);
        if (size == 0 || size > bytes.size()) {
            return Error{ErrorCode::corrupt, Disposition::fatal, "a pull was answered with bytes that are no message"};
        }
        bytes = bytes.subspan(size);
        ++messages;
    }
    return messages;
}

}  // namespace

Result<QueueReader> QueueReader::connect(std::uint16_t port) {
    const auto socket = connect_socket(port);
    if (!socket) {
        return socket.error();
    }
    QueueReader reader;
    reader.socket_ = *socket;
    return reader;
}

QueueReader::~QueueReader() {
    if (socket_ >= 0) {
        ::close(socket_);
    }
}

QueueReader::QueueReader(QueueReader&& other) noexcept
    : socket_{std::exchange(other.socket_, -1)}, decoder_{std::move(other.decoder_)}, command_{std::move(other.command_)} {}

Result<void> QueueReader::send(const std::string& frame) {
    for (std::size_t at = 0; at < frame.size();) {
        const ssize_t count = ::send(socket_, frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
        if (count < 0) {
            return lost(std::strerror(errno));
        }
        at += static_cast<std::size_t>(count);
    }
    return {};
}

Result<const remoting::CommandView*> QueueReader::receive() {
    for (;;) {
        const auto next = decoder_.next();
        if (!next) {
            return next.error();
        }
        if (*next) {
            if (const auto decoded = remoting::decode_command(**next, command_); !decoded) {
                return decoded.error();
            }
            if (command_.is_response()) {
                return &command_;
            }
            continue;
        }
        const auto room = decoder_.prepare(read_room);
        const ssize_t count = ::recv(socket_, room.data(), room.size(), 0);
        if (count <= 0) {
            return lost("closed by the broker");
        }
        decoder_.commit(static_cast<std::size_t>(count));
    }
}

Result<std::int64_t> QueueReader::offset(RequestCode code, std::string_view topic, std::int32_t queue) {
    std::string frame;
    remoting::append_request(frame, remoting::SerializeType::binary, code, 1,
                             remoting::QueueRequest{.topic = topic, .queue_id = queue});
    if (auto sent = send(frame); !sent) {
        return sent.error();
    }
    const auto answer = receive();
    if (!answer) {
        return answer.error();
    }
    if ((*answer)->response_code() == ResponseCode::topic_not_exist) {
        return 0;  // nothing was ever published
    }
    const auto value = remoting::OffsetResponse::decode(**answer);
    return value ? Result<std::int64_t>{value->offset} : value.error();
}

Result<std::int64_t> QueueReader::end(std::string_view topic, std::int32_t queue) {
    return offset(RequestCode::get_max_offset, topic, queue);
}

Result<std::uint64_t> QueueReader::stored(const LoadShape& shape) {
    std::int64_t messages = 0;
    for (std::size_t topic = 0; topic < shape.topics; ++topic) {
        for (std::int32_t queue = 0; queue < shape.queues; ++queue) {
            const auto least = offset(RequestCode::get_min_offset, shape.topic_name(topic), queue);
            const auto most = offset(RequestCode::get_max_offset, shape.topic_name(topic), queue);
            if (!least || !most) {
                return least ? most.error() : least.error();
            }
            messages += *most - *least;
        }
    }
    return static_cast<std::uint64_t>(messages);
}

Result<std::uint64_t> QueueReader::stored(const LoadShape& shape, std::uint64_t expected) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + std::chrono::seconds{30};
    for (;;) {
        auto found = stored(shape);
        if (!found || *found >= expected || clock.steady_now() >= give_up) {
            return found;
        }
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{20}, {});
    }
}

Result<ReadResult> QueueReader::read_all(const LoadShape& shape, std::int32_t messages_max) {
    ReadResult result;
    std::vector<std::int64_t> next(static_cast<std::size_t>(shape.queues), 0);
    const auto pull = [&](std::int32_t queue) {
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::binary, RequestCode::pull_message, queue,
                                 remoting::PullRequest{.consumer_group = "bench",
                                                       .topic = shape.topic,
                                                       .queue_id = queue,
                                                       .queue_offset = next[static_cast<std::size_t>(queue)],
                                                       .messages_max = messages_max,
                                                       .sys_flag = remoting::pull_flag::subscription,
                                                       .subscription = "*"});
        return send(frame);
    };
    const SteadyTime begin = system_clock().steady_now();
    for (std::int32_t queue = 0; queue < shape.queues; ++queue) {
        if (auto sent = pull(queue); !sent) {
            return sent.error();
        }
    }
    for (auto open = shape.queues; open > 0;) {
        const auto answer = receive();
        if (!answer) {
            return answer.error();
        }
        const remoting::CommandView& command = **answer;
        const auto header = remoting::PullResponse::decode(command);
        if (!header) {
            return header.error();
        }
        const auto queue = command.opaque;
        if (command.response_code() == ResponseCode::success) {
            const auto messages = count_records(command.body);
            if (!messages) {
                return messages.error();
            }
            result.messages += *messages;
        } else if (command.response_code() == ResponseCode::pull_not_found ||
                   header->next_begin_offset <= next[static_cast<std::size_t>(queue)]) {
            --open;
            continue;
        }
        next[static_cast<std::size_t>(queue)] = header->next_begin_offset;
        if (auto sent = pull(queue); !sent) {
            return sent.error();
        }
    }
    result.seconds = std::chrono::duration<double>(system_clock().steady_now() - begin).count();
    return result;
}

}  // namespace hufu::bench
