#include "tx_client.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/transaction_headers.hpp>

namespace hufu::bench {
namespace {

using remoting::ResponseCode;

constexpr std::size_t ring = 1 << 16;
constexpr std::size_t read_room = 128 * 1024;
constexpr std::size_t output_max = 256 * 1024;

Error lost(const std::string& why) {
    return Error{ErrorCode::unavailable, Disposition::retry, "connection to the broker: " + why};
}

std::uint32_t microseconds(std::chrono::nanoseconds time) {
    return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

}  // namespace

double percentile(std::vector<std::uint32_t> values, double part) {
    if (values.empty()) {
        return 0;
    }
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

TxClient::TxClient(const TxOptions& options)
    : options_{options}, requests_{options.shape}, open_(ring), next_id_{options.first_id} {}

TxClient::~TxClient() {
    if (socket_ >= 0) {
        ::close(socket_);
    }
}

TxClient::TxClient(TxClient&& other) noexcept
    : options_{std::move(other.options_)},
      requests_{std::move(other.requests_)},
      socket_{std::exchange(other.socket_, -1)},
      decoder_{std::move(other.decoder_)},
      open_{std::move(other.open_)},
      next_id_{other.next_id_} {}

Result<TxClient> TxClient::connect(std::uint16_t port, const TxOptions& options) {
    TxClient client{options};
    const auto socket = connect_socket(port);
    if (!socket) {
        return socket.error();
    }
    client.socket_ = *socket;
    return client;
}

void TxClient::begin_one(SteadyTime due) {
    const std::uint64_t id = next_id_++;
    requests_.append(out_, id);
    open_[id % ring] = {.begun_at = due};
    result_.begun_at.push_back(due);
    ++count_open_;
    ++result_.begun;
}

void TxClient::begin_due(SteadyTime now) {
    while (beginning_ && result_.begun < options_.transactions_max && out_.size() < output_max) {
        if (options_.per_second > 0) {
            if (now < next_due_ || count_open_ >= ring / 2) {
                return;
            }
            begin_one(next_due_);
            next_due_ += std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 / options_.per_second)};
        } else {
            if (count_open_ >= options_.window) {
                return;
            }
            begin_one(now);
        }
    }
}

Result<void> TxClient::flush() {
    std::size_t at = 0;
    while (at < out_.size()) {
        const ssize_t count = ::send(socket_, out_.data() + at, out_.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                break;
            }
            return lost(std::strerror(errno));
        }
        at += static_cast<std::size_t>(count);
    }
    out_.erase(0, at);
    return {};
}

void TxClient::over() { --count_open_; }

/// The half is stored: END follows at once, in the same form for every broker, and not one-way.
Result<void> TxClient::take_half(Open& open, std::int32_t opaque, SteadyTime now) {
    const auto stored = remoting::SendResponse::decode(command_);
    if (!stored) {
        return stored.error();
    }
    const auto place = remoting::OffsetMessageId::parse(stored->message_id);
    if (!place) {
        return Error{ErrorCode::protocol, Disposition::fatal,
                     "a half was answered with the message id " + std::string{stored->message_id}};
    }
    if (result_.halves++ == 0) {
        result_.first_log_offset = place->offset;
    }
    result_.last_log_offset = std::max(result_.last_log_offset, place->offset);
    if (!options_.end) {
        over();
        return {};
    }
    open.ending = true;
    open.end_at = now;
    remoting::append_request(out_, remoting::SerializeType::binary, remoting::RequestCode::end_transaction, opaque,
                             remoting::EndTransactionRequest{.producer_group = load_group,
                                                             .topic = options_.shape.topic,
                                                             .half_queue_offset = stored->queue_offset,
                                                             .half_log_offset = place->offset,
                                                             .verdict = remoting::sys_flag::transaction_commit,
                                                             .message_id = stored->transaction_id,
                                                             .transaction_id = stored->transaction_id});
    return {};
}

Result<void> TxClient::take_answer(SteadyTime now) {
    const auto opaque = command_.opaque;
    auto& open = open_[static_cast<std::uint64_t>(opaque) % ring];
    if (command_.response_code() != ResponseCode::success) {
        const std::string said = std::to_string(command_.code) + " " + std::string{command_.remark};
        if (!options_.refusals_allowed) {
            return Error{ErrorCode::internal, Disposition::fatal, "the broker refused a transaction: " + said};
        }
        if (result_.refused++ == 0) {
            result_.refusal = said;
        }
        over();
        return {};
    }
    if (!open.ending) {
        return take_half(open, opaque, now);
    }
    result_.transaction_us.push_back(microseconds(now - open.begun_at));
    result_.end_us.push_back(microseconds(now - open.end_at));
    ++result_.committed;
    over();
    return {};
}

Result<bool> TxClient::take_answers() {
    const auto room = decoder_.prepare(read_room);
    const ssize_t count = ::recv(socket_, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (count <= 0) {
        return lost(count == 0 ? "closed by the broker" : std::strerror(errno));
    }
    decoder_.commit(static_cast<std::size_t>(count));
    const SteadyTime now = system_clock().steady_now();
    for (;;) {
        const auto frame = decoder_.next();
        if (!frame) {
            return frame.error();
        }
        if (!*frame) {
            return true;
        }
        if (const auto decoded = remoting::decode_command(**frame, command_); !decoded) {
            return decoded.error();
        }
        if (!command_.is_response()) {
            continue;  // a broker may ask its clients for something
        }
        if (auto taken = take_answer(now); !taken) {
            return taken.error();
        }
    }
}

void TxClient::sleep(SteadyTime now) const {
    pollfd waiting{.fd = socket_, .events = static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)), .revents = 0};
    std::chrono::nanoseconds limit = std::chrono::milliseconds{100};
    if (beginning_ && options_.per_second > 0) {
        limit = std::clamp(next_due_ - now, std::chrono::nanoseconds{0}, limit);
    }
    const timespec time{.tv_sec = 0, .tv_nsec = limit.count()};
    ::ppoll(&waiting, 1, &time, nullptr);
}

Result<TxResult> TxClient::run() {
    constexpr std::chrono::milliseconds answer_timeout{30'000};
    if (options_.per_second > 0) {
        ::prctl(PR_SET_TIMERSLACK, 1000UL);
    }
    const SteadyTime begin = system_clock().steady_now();
    next_due_ = begin;
    beginning_ = true;
    SteadyTime last_answer = begin;
    SteadyTime now = begin;
    for (;;) {
        begin_due(now);
        if (auto flushed = flush(); !flushed) {
            return flushed.error();
        }
        const auto taken = take_answers();
        if (!taken) {
            return taken.error();
        }
        now = system_clock().steady_now();
        last_answer = *taken ? now : last_answer;
        beginning_ = beginning_ && now - begin < options_.duration && result_.begun < options_.transactions_max;
        if (!beginning_ && count_open_ == 0) {
            break;
        }
        if (*taken) {
            continue;
        }
        if (now - last_answer > answer_timeout) {
            return lost("no answer for 30 s");
        }
        sleep(now);
        now = system_clock().steady_now();
    }
    result_.seconds = std::chrono::duration<double>(last_answer - begin).count();
    return std::move(result_);
}

}  // namespace hufu::bench
