// A lean publisher of many equal messages: one thread, raw sockets, requests made from templates. One program for every
// broker that speaks RocketMQ's remoting protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

#include "load_requests.hpp"

namespace hufu::bench {

struct LoadOptions {
    LoadShape shape = {};
    std::size_t window = 1;  ///< requests without an answer, over all connections
    std::size_t connections = 1;
    std::chrono::nanoseconds duration{std::chrono::seconds{3}};
    std::uint64_t messages_max = UINT64_MAX;
    /// Open loop: so many requests per second, each at its own time whether or not earlier ones are answered; its latency
    /// counts from that time. 0: as fast as the window allows.
    double requests_per_second = 0;
    /// Looks for answers so long before it sleeps. Pays off only where the broker's two threads have cores of their own.
    std::chrono::microseconds spin{0};
    /// Counts refused messages; otherwise the first one is an error.
    bool refusals_allowed = false;
};

/// Counts are of messages.
struct LoadResult {
    std::uint64_t sent = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t refused = 0;
    std::string refusal = {};                    ///< what the broker said of the first refused one
    double seconds = 0;                          ///< first request to last answer
    std::vector<std::uint32_t> latency_us = {};  ///< of every request with a window of 1 or in open loop, else of every 64th
    [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(acknowledged) / seconds : 0; }
    [[nodiscard]] double percentile_us(double part);
};

/// For one thread.
class LoadClient {
public:
    static Result<LoadClient> connect(std::uint16_t port, const LoadOptions& options);
    ~LoadClient();
    LoadClient(LoadClient&&) noexcept;
    LoadClient& operator=(LoadClient&&) = delete;

    /// Publishes for the duration, then waits for every answer. `every_100ms` is called in between and ends the run early
    /// by false. An error when the broker refuses a message that it must take or the connection is lost (`sent` and
    /// `acknowledged` are in `last()` either way).
    Result<LoadResult> publish(const std::function<bool()>& every_100ms = {});
    [[nodiscard]] const LoadResult& last() const noexcept { return result_; }

private:
    struct Connection;
    explicit LoadClient(const LoadOptions& options);
    [[nodiscard]] bool may_send(const Connection& connection, SteadyTime now) const;
    void fill(Connection& connection, SteadyTime now);
    Result<void> flush(Connection& connection);
    Result<std::size_t> take_answers(Connection& connection);
    Result<void> take_answer(Connection& connection);
    void sleep(SteadyTime now);
    [[nodiscard]] bool measured(std::uint64_t id) const noexcept;

    LoadOptions options_;
    LoadRequests requests_;
    std::vector<Connection> connections_;
    std::uint64_t next_id_ = 1;
    SteadyTime next_due_{};  // open loop: when the next request begins
    bool sending_ = false;
    std::vector<SteadyTime> sent_at_;  // by opaque, a ring
    remoting::CommandView command_;
    LoadResult result_;
};

/// A connected, undelayed TCP socket to 127.0.0.1:`port`.
Result<int> connect_socket(std::uint16_t port);

}  // namespace hufu::bench
