// Looks into a broker's queues: how many messages they hold, and how fast they can be read.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

#include "load_requests.hpp"

namespace hufu::bench {

struct ReadResult {
    std::uint64_t messages = 0;
    double seconds = 0;
    [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(messages) / seconds : 0; }
};

/// One connection, for one thread.
class QueueReader {
public:
    static Result<QueueReader> connect(std::uint16_t port);
    ~QueueReader();
    QueueReader(QueueReader&& other) noexcept;
    QueueReader& operator=(QueueReader&&) = delete;

    /// The next offset of the queue; 0 where nothing was ever published.
    Result<std::int64_t> end(std::string_view topic, std::int32_t queue);
    /// Messages in all queues of all topics of `shape`.
    Result<std::uint64_t> stored(const LoadShape& shape);
    /// The same, waiting up to 30 s for `expected`: RocketMQ makes its queues from its log a little later.
    Result<std::uint64_t> stored(const LoadShape& shape, std::uint64_t expected);
    /// Pulls every message of one topic once: one open pull of up to `messages_max` messages per queue, as consumers do it.
    Result<ReadResult> read_all(const LoadShape& shape, std::int32_t messages_max = 32);

private:
    QueueReader() = default;
    Result<void> send(const std::string& frame);
    Result<const remoting::CommandView*> receive();
    Result<std::int64_t> offset(remoting::RequestCode code, std::string_view topic, std::int32_t queue);

    int socket_ = -1;
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
};

}  // namespace hufu::bench
