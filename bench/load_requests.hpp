// The requests of a load, made from templates: equal messages that differ in topic, queue and id.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hufu::bench {

inline constexpr const char* load_group = "bench";  ///< producer group of every message

/// What is sent.
struct LoadShape {
    std::string topic = "bench";
    std::size_t topics = 1;  ///< more than one: "bench-0", "bench-1", …, in turn
    std::int32_t queues = 8;
    std::size_t body_bytes = 1024;
    std::int64_t deliver_ms = 0;  ///< not 0: delayed until this time, spread over the second behind it
    std::size_t batch = 1;        ///< messages of a request; more than one: as a batch (320)
    bool half = false;            ///< half messages of transactions, first checked after an hour

    [[nodiscard]] std::string topic_name(std::size_t index) const {
        return topics == 1 ? topic : topic + "-" + std::to_string(index);
    }
};

class LoadRequests {
public:
    explicit LoadRequests(const LoadShape& shape);
    /// Appends request number `id`, whose opaque number is the id's lower 31 bits and whose messages no other request has.
    void append(std::string& out, std::uint64_t id);

private:
    struct Head {
        std::string bytes;        // a frame up to its body
        std::size_t key_at = 0;   // where the digits of the message's id stand; of a batch: of its first
        std::size_t time_at = 0;  // where the time stands at which the message is due
    };
    std::vector<Head> heads_;  // by topic, then queue
    std::string body_;
    std::int64_t deliver_ms_ = 0;
    std::vector<std::size_t> body_keys_at_;  // of a batch: where each message's digits stand
    std::size_t next_ = 0;
};

}  // namespace hufu::bench
