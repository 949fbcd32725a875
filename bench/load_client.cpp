#include "load_client.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hufu::bench {
namespace {

using remoting::ResponseCode;

constexpr std::size_t output_max = 256 * 1024;
constexpr std::size_t read_room = 128 * 1024;
constexpr std::size_t latency_ring = 1 << 16;
/// A broker that is so far behind an open loop gets the rest late; their latency counts from when they were due.
constexpr std::size_t open_loop_open_max = latency_ring / 2;

Error lost(const std::string& why) {
    return Error{ErrorCode::unavailable, Disposition::retry, "connection to the broker: " + why};
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

Result<int> connect_socket(std::uint16_t port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    if (socket < 0 || ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        auto error = lost("cannot connect to 127.0.0.1:" + std::to_string(port) + ": " + std::strerror(errno));
        ::close(socket);
        return error;
    }
    return socket;
}

LoadClient::LoadClient(const LoadOptions& options) : options_{options}, requests_{options.shape}, sent_at_(latency_ring) {}

LoadClient::LoadClient(LoadClient&&) noexcept = default;

LoadClient::~LoadClient() {
    for (const Connection& connection : connections_) {
        ::close(connection.socket);
    }
}

Result<LoadClient> LoadClient::connect(std::uint16_t port, const LoadOptions& options) {
    LoadClient client{options};
    for (std::size_t i = 0; i < options.connections; ++i) {
        const auto socket = connect_socket(port);
        if (!socket) {
            return socket.error();
        }
        client.connections_.push_back({.socket = *socket});
    }
    return client;
}

bool LoadClient::measured(std::uint64_t id) const noexcept {
    return options_.window == 1 || options_.requests_per_second > 0 || id % 64 == 0;
}

bool LoadClient::may_send(const Connection& connection, SteadyTime now) const {
    if (!sending_ || result_.sent >= options_.messages_max || connection.out.size() - connection.out_at >= output_max) {
        return false;
    }
    if (options_.requests_per_second > 0) {
        return now >= next_due_ && connection.open < open_loop_open_max / connections_.size();
    }
    return connection.open < std::max<std::size_t>(options_.window / connections_.size(), 1);
}

/// Puts as many requests as are due into the output.
void LoadClient::fill(Connection& connection, SteadyTime now) {
    while (may_send(connection, now)) {
        const std::uint64_t id = next_id_++;
        requests_.append(connection.out, id);
        if (options_.requests_per_second > 0) {
            sent_at_[id % latency_ring] = next_due_;
            next_due_ += std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 / options_.requests_per_second)};
        } else if (measured(id)) {
            sent_at_[id % latency_ring] = system_clock().steady_now();
        }
        ++connection.open;
        result_.sent += options_.shape.batch;
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

/// Counts the answer in `command_`.
Result<void> LoadClient::take_answer(Connection& connection) {
    --connection.open;
    if (command_.response_code() != ResponseCode::success) {
        const std::string said = std::to_string(command_.code) + " " + std::string{command_.remark};
        if (!options_.refusals_allowed) {
            return Error{ErrorCode::internal, Disposition::fatal, "the broker refused a message: " + said};
        }
        if (result_.refused == 0) {
            result_.refusal = said;
        }
        result_.refused += options_.shape.batch;
        return {};
    }
    const auto id = static_cast<std::uint32_t>(command_.opaque);
    if (measured(id)) {
        const auto took = system_clock().steady_now() - sent_at_[id % latency_ring];
        result_.latency_us.push_back(
            static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
    }
    result_.acknowledged += options_.shape.batch;
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
        if (!command_.is_response()) {
            continue;  // a broker may ask its clients for something
        }
        if (auto taken = take_answer(connection); !taken) {
            return taken.error();
        }
        ++answers;
    }
}

/// Until something can be read or written, or the next request of an open loop is due.
void LoadClient::sleep(SteadyTime now) {
    std::vector<pollfd> waiting;
    waiting.reserve(connections_.size());
    for (const Connection& connection : connections_) {
        waiting.push_back({.fd = connection.socket,
                           .events = static_cast<short>(POLLIN | (connection.out.empty() ? 0 : POLLOUT)),
                           .revents = 0});
    }
    std::chrono::nanoseconds limit = std::chrono::milliseconds{100};
    if (sending_ && options_.requests_per_second > 0) {
        limit = std::clamp(next_due_ - now, std::chrono::nanoseconds{0}, limit);
    }
    const timespec time{.tv_sec = 0, .tv_nsec = limit.count()};
    ::ppoll(waiting.data(), waiting.size(), &time, nullptr);
}

Result<LoadResult> LoadClient::publish(const std::function<bool()>& every_100ms) {
    constexpr std::chrono::milliseconds answer_timeout{30'000};
    if (options_.requests_per_second > 0) {
        ::prctl(PR_SET_TIMERSLACK, 1000UL);  // the default of 50 us would be half the distance of two requests
    }
    result_ = {};
    sending_ = true;
    const SteadyTime begin = system_clock().steady_now();
    next_due_ = begin;
    SteadyTime last_answer = begin;
    SteadyTime next_call = begin + std::chrono::milliseconds{100};
    SteadyTime now = begin;
    for (;;) {
        std::size_t answers = 0;
        for (Connection& connection : connections_) {
            fill(connection, now);
            if (auto flushed = flush(connection); !flushed) {
                return flushed.error();
            }
        }
        for (Connection& connection : connections_) {
            auto taken = take_answers(connection);
            if (!taken) {
                return taken.error();
            }
            answers += *taken;
        }
        now = system_clock().steady_now();
        if (every_100ms && now >= next_call) {
            next_call = now + std::chrono::milliseconds{100};
            sending_ = every_100ms() && sending_;
        }
        if (answers > 0) {
            last_answer = now;
        }
        sending_ = sending_ && now - begin < options_.duration && result_.sent < options_.messages_max;
        if (!sending_ && result_.acknowledged + result_.refused == result_.sent) {
            break;
        }
        if (answers > 0 || now - last_answer < options_.spin) {
            continue;
        }
        if (now - last_answer > answer_timeout) {
            return lost("no answer for 30 s");
        }
        sleep(now);
        now = system_clock().steady_now();
    }
    result_.seconds = std::chrono::duration<double>(last_answer - begin).count();
    return result_;
}

}  // namespace hufu::bench
