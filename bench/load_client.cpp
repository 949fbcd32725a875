#include "load_client.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::bench {
namespace {

using remoting::RequestCode;
using remoting::ResponseCode;

constexpr std::size_t output_max = 256 * 1024;
constexpr std::size_t read_room = 128 * 1024;
// length, header length, i16 code, u8 language, i16 version: then the opaque of a binary header.
constexpr std::size_t opaque_at = 4 + 4 + 2 + 1 + 2;
constexpr std::size_t latency_ring = 1 << 16;
constexpr std::uint32_t opaque_mask = 0x7FFF'FFFF;

Error lost(const std::string& why) {
    return Error{ErrorCode::unavailable, Disposition::retry, "connection to the broker: " + why};
}

void write_hex(char* into, std::uint64_t value) noexcept {
    for (int shift = 60; shift >= 0; shift -= 4) {
        *into++ = "0123456789ABCDEF"[value >> shift & 15];
    }
}

}  // namespace

struct LoadClient::Connection {
    int socket = -1;
    std::string out = {};
    std::size_t out_at = 0;
    std::size_t open = 0;  // requests without an answer
    remoting::FrameDecoder decoder{};
};

double LoadResult::percentile_us(double part) {
    if (latency_us.empty()) {
        return 0;
    }
    const auto at = latency_us.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(latency_us.size() - 1));
    std::nth_element(latency_us.begin(), at, latency_us.end());
    return *at;
}

LoadClient::LoadClient(const LoadOptions& options) : options_{options}, sent_at_(latency_ring) {
    const std::string body(options.body_bytes, 'x');
    std::string properties;
    remoting::append_property(properties, remoting::property::unique_key, std::string(32, '0'));
    for (std::int32_t queue = 0; queue < options.queues; ++queue) {
        remoting::SendRequest request{.producer_group = "bench",
                                      .topic = options.topic,
                                      .queue_id = queue,
                                      .born_timestamp = std::chrono::duration_cast<std::chrono::milliseconds>(
                                                            system_clock().system_now().time_since_epoch())
                                                            .count(),
                                      .properties = properties};
        std::string frame;
        remoting::append_request(frame, remoting::SerializeType::binary, RequestCode::send_message_v2, 0, request, body);
        unique_key_at_ = frame.find(std::string(32, '0'));
        templates_.push_back(std::move(frame));
    }
}

LoadClient::LoadClient(LoadClient&&) noexcept = default;

LoadClient::~LoadClient() {
    for (const Connection& connection : connections_) {
        ::close(connection.socket);
    }
}

Result<LoadClient> LoadClient::connect(std::uint16_t port, const LoadOptions& options) {
    LoadClient client{options};
    for (std::size_t i = 0; i < options.connections; ++i) {
        const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        client.connections_.push_back({.socket = socket});
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        if (socket < 0 || ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
            return lost("cannot connect to 127.0.0.1:" + std::to_string(port) + ": " + std::strerror(errno));
        }
    }
    return client;
}

/// Puts as many requests as the window allows into the output.
void LoadClient::fill(Connection& connection) {
    const std::size_t window = std::max<std::size_t>(options_.window / connections_.size(), 1);
    while (connection.open < window && connection.out.size() - connection.out_at < output_max &&
           result_.sent < options_.messages_max) {
        const std::string& request = templates_[next_queue_];
        next_queue_ = (next_queue_ + 1) % templates_.size();
        const std::uint64_t id = next_id_++;
        const std::size_t at = connection.out.size();
        connection.out.append(request);
        remoting::store(connection.out.data() + at + opaque_at, static_cast<std::int32_t>(id & opaque_mask));
        write_hex(connection.out.data() + at + unique_key_at_ + 16, id);
        if (options_.window == 1 || id % 64 == 0) {
            sent_at_[id % latency_ring] = system_clock().steady_now();
        }
        ++connection.open;
        ++result_.sent;
    }
}

/// Hands as much of the output to the kernel as it takes.
Result<void> LoadClient::flush(Connection& connection) {
    while (connection.out_at < connection.out.size()) {
        const ssize_t count = ::send(connection.socket, connection.out.data() + connection.out_at,
                                     connection.out.size() - connection.out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                break;
            }
            return lost(std::strerror(errno));
        }
        connection.out_at += static_cast<std::size_t>(count);
    }
    if (connection.out_at == connection.out.size()) {
        connection.out.clear();
        connection.out_at = 0;
    } else if (connection.out_at > output_max) {
        connection.out.erase(0, connection.out_at);
        connection.out_at = 0;
    }
    return {};
}

Result<std::size_t> LoadClient::take_answers(Connection& connection) {
    std::size_t answers = 0;
    const auto room = connection.decoder.prepare(read_room);
    const ssize_t count = ::recv(connection.socket, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return answers;
    }
    if (count <= 0) {
        return lost(count == 0 ? "closed by the broker" : std::strerror(errno));
    }
    connection.decoder.commit(static_cast<std::size_t>(count));
    for (;;) {
        const auto frame = connection.decoder.next();
        if (!frame) {
            return frame.error();
        }
        if (!*frame) {
            return answers;
        }
        if (const auto decoded = remoting::decode_command(**frame, command_); !decoded) {
            return decoded.error();
        }
        if (command_.response_code() != ResponseCode::success) {
            return Error{
                ErrorCode::internal, Disposition::fatal,
                "the broker refused a message: " + std::to_string(command_.code) + " " + std::string{command_.remark}};
        }
        const auto id = static_cast<std::uint32_t>(command_.opaque);
        if (options_.window == 1 || id % 64 == 0) {
            const auto took = system_clock().steady_now() - sent_at_[id % latency_ring];
            result_.latency_us.push_back(
                static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
        }
        ++answers;
        --connection.open;
        ++result_.acknowledged;
    }
}

Result<LoadResult> LoadClient::publish(const std::function<bool()>& every_100ms) {
    constexpr std::chrono::milliseconds answer_timeout{30'000};
    result_ = {};
    const SteadyTime begin = system_clock().steady_now();
    SteadyTime last_answer = begin;
    SteadyTime next_call = begin + std::chrono::milliseconds{100};
    bool sending = true;
    std::vector<pollfd> waiting(connections_.size());
    for (;;) {
        for (Connection& connection : connections_) {
            if (sending) {
                fill(connection);
            }
            if (auto flushed = flush(connection); !flushed) {
                return flushed.error();
            }
        }
        std::size_t answers = 0;
        for (Connection& connection : connections_) {
            auto taken = take_answers(connection);
            if (!taken) {
                return taken.error();
            }
            answers += *taken;
        }
        const SteadyTime now = system_clock().steady_now();
        if (every_100ms && now >= next_call) {
            next_call = now + std::chrono::milliseconds{100};
            sending = every_100ms() && sending;
        }
        if (answers > 0) {
            last_answer = now;
        }
        sending = sending && now - begin < options_.duration && result_.sent < options_.messages_max;
        if (!sending && result_.acknowledged == result_.sent) {
            break;
        }
        if (answers > 0 || now - last_answer < options_.spin) {
            continue;
        }
        if (now - last_answer > answer_timeout) {
            return lost("no answer for 30 s");
        }
        for (std::size_t i = 0; i < connections_.size(); ++i) {
            waiting[i] = {.fd = connections_[i].socket,
                          .events = static_cast<short>(POLLIN | (connections_[i].out.empty() ? 0 : POLLOUT)),
                          .revents = 0};
        }
        ::poll(waiting.data(), waiting.size(), 100);
    }
    result_.seconds = std::chrono::duration<double>(last_answer - begin).count();
    return result_;
}

Result<const remoting::CommandView*> LoadClient::ask(std::string frame) {
    Connection& connection = connections_.front();
    for (std::size_t at = 0; at < frame.size();) {
        const ssize_t count = ::send(connection.socket, frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
        if (count < 0) {
            return lost(std::strerror(errno));
        }
        at += static_cast<std::size_t>(count);
    }
    for (;;) {
        const auto next = connection.decoder.next();
        if (!next) {
            return next.error();
        }
        if (*next) {
            if (const auto decoded = remoting::decode_command(**next, command_); !decoded) {
                return decoded.error();
            }
            return &command_;
        }
        const auto room = connection.decoder.prepare(read_room);
        const ssize_t count = ::recv(connection.socket, room.data(), room.size(), 0);
        if (count <= 0) {
            return lost("closed by the broker");
        }
        connection.decoder.commit(static_cast<std::size_t>(count));
    }
}

Result<std::uint64_t> LoadClient::stored() {
    std::uint64_t messages = 0;
    for (std::int32_t queue = 0; queue < options_.queues; ++queue) {
        std::int64_t bounds[2] = {0, 0};
        for (const bool upper : {false, true}) {
            std::string frame;
            remoting::append_request(frame, remoting::SerializeType::binary,
                                     upper ? RequestCode::get_max_offset : RequestCode::get_min_offset, 1,
                                     remoting::QueueRequest{.topic = options_.topic, .queue_id = queue});
            const auto answer = ask(std::move(frame));
            if (!answer) {
                return answer.error();
            }
            if ((*answer)->response_code() == ResponseCode::topic_not_exist) {
                continue;  // nothing was ever published
            }
            const auto offset = remoting::OffsetResponse::decode(**answer);
            if (!offset) {
                return offset.error();
            }
            bounds[upper ? 1 : 0] = offset->offset;
        }
        messages += static_cast<std::uint64_t>(bounds[1] - bounds[0]);
    }
    return messages;
}

Result<std::uint64_t> LoadClient::read_all() {
    std::uint64_t messages = 0;
    for (std::int32_t queue = 0; queue < options_.queues; ++queue) {
        std::int64_t next = 0;
        for (;;) {
            std::string frame;
            remoting::append_request(frame, remoting::SerializeType::binary, RequestCode::pull_message, 1,
                                     remoting::PullRequest{.consumer_group = "bench",
                                                           .topic = options_.topic,
                                                           .queue_id = queue,
                                                           .queue_offset = next,
                                                           .messages_max = 512,
                                                           .sys_flag = remoting::pull_flag::subscription,
                                                           .subscription = "*"});
            const auto answer = ask(std::move(frame));
            if (!answer) {
                return answer.error();
            }
            const auto header = remoting::PullResponse::decode(**answer);
            if (!header) {
                return header.error();
            }
            if ((*answer)->response_code() == ResponseCode::pull_not_found) {
                break;
            }
            auto bytes = std::as_bytes(std::span{(*answer)->body.data(), (*answer)->body.size()});
            while (!bytes.empty()) {
                const std::size_t size = remoting::peek_record_size(bytes);
                if (size == 0 || size > bytes.size()) {
                    return Error{ErrorCode::corrupt, Disposition::fatal,
                                 "a pull was answered with bytes that are no message"};
                }
                bytes = bytes.subspan(size);
                ++messages;
            }
            next = header->next_begin_offset;
        }
    }
    return messages;
}

}  // namespace hufu::bench
