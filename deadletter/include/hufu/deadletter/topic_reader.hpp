// Reading a topic by place, without a consumer group and without leaving a trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/deadletter/letter.hpp>

namespace hufu::deadletter {

/// What a queue holds: places `first` to `end` - 1. Some of them may be empty.
struct QueueRange {
    std::string queue = {};
    std::int64_t first = 0;
    std::int64_t end = 0;
};

/// Messages from a place on, in its order.
struct Page {
    std::vector<ReadMessage> messages = {};
    std::int64_t next = 0;  ///< where to go on; the page's own start when there was nothing (yet)
};

/// Looks into topics of a broker. One thread at a time. Every call waits for the broker's answer, in bounded time.
/// Errors: `not_found` (no such topic), `unavailable`, `timeout`, `permission`, `corrupt`.
class TopicReader {
public:
    virtual ~TopicReader() = default;
    /// Names of the topics there are, as Hufu writes them ("%DLQ%stock", on Kafka too).
    virtual Result<std::vector<std::string>> topics() = 0;
    /// The queues of a topic, sorted by name.
    virtual Result<std::vector<QueueRange>> ranges(const std::string& topic) = 0;
    /// Up to `max` messages of a queue that `ranges` named, from `offset` on.
    virtual Result<Page> read(const std::string& topic, const std::string& queue, std::int64_t offset, std::size_t max) = 0;
};

}  // namespace hufu::deadletter
