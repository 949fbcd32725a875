// A lean publisher of many equal messages: one thread, raw sockets, requests made from templates.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::bench {

struct LoadOptions {
    std::string topic = "bench";
    std::size_t body_bytes = 1024;
    std::size_t window = 1;  ///< requests without an answer, over all connections
    std::size_t connections = 1;
    std::int32_t queues = 8;
    std::chrono::nanoseconds duration{std::chrono::seconds{3}};
    std::uint64_t messages_max = UINT64_MAX;
    /// Looks for answers so long before it sleeps. Pays off only where the broker's two threads have cores of their own.
    std::chrono::microseconds spin{0};
};

struct LoadResult {
    std::uint64_t sent = 0;
    std::uint64_t acknowledged = 0;
    double seconds = 0;                          ///< first request to last answer
    std::vector<std::uint32_t> latency_us = {};  ///< every answer's when the window is 1, else every 64th
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
    /// by false. An error when the broker refuses a message or the connection is lost (`sent` and `acknowledged` are in
    /// `last()` either way).
    Result<LoadResult> publish(const std::function<bool()>& every_100ms = {});
    [[nodiscard]] const LoadResult& last() const noexcept { return result_; }
    /// Messages stored in all queues of the topic.
    Result<std::uint64_t> stored();
    /// Pulls every message of the topic once; returns how many.
    Result<std::uint64_t> read_all();

private:
    struct Connection;
    explicit LoadClient(const LoadOptions& options);
    void fill(Connection& connection);
    Result<void> flush(Connection& connection);
    Result<std::size_t> take_answers(Connection& connection);
    Result<const remoting::CommandView*> ask(std::string frame);

    LoadOptions options_;
    std::vector<Connection> connections_;
    std::vector<std::string> templates_;  // one request per queue
    std::size_t unique_key_at_ = 0;       // where in a template the message's id stands
    std::size_t next_queue_ = 0;
    std::uint64_t next_id_ = 1;
    std::vector<SteadyTime> sent_at_;  // by opaque, a ring
    remoting::CommandView command_;
    LoadResult result_;
};

}  // namespace hufu::bench
