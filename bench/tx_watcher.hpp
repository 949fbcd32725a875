// A consumer that waits: it notes when each message of a load became visible to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <unordered_map>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

#include "load_requests.hpp"

namespace hufu::bench {

/// Long-polls every queue of the topic from its present end on, on a thread and a connection of its own.
class TxWatcher {
public:
    /// Throws when the topic cannot be read.
    TxWatcher(std::uint16_t port, const LoadShape& shape);
    ~TxWatcher();
    TxWatcher(const TxWatcher&) = delete;
    TxWatcher& operator=(const TxWatcher&) = delete;

    [[nodiscard]] std::uint64_t seen() const noexcept { return seen_.load(std::memory_order_relaxed); }
    /// Ends the watching. By the id of each message (the digits of its UNIQ_KEY): when it was first held.
    const std::unordered_map<std::uint64_t, SteadyTime>& stop();

private:
    Result<void> pull(std::int32_t queue);
    Result<void> watch();
    void take(std::string_view body);

    LoadShape shape_;
    int socket_ = -1;
    std::vector<std::int64_t> next_;
    std::unordered_map<std::uint64_t, SteadyTime> at_;  // of the thread, until it has ended
    std::atomic<std::uint64_t> seen_{0};
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace hufu::bench
