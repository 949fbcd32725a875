// A lean producer of transactions: half sent, answered, END (commit) sent, answered. One thread, one raw socket, the same
// program for every broker that speaks RocketMQ's remoting protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

#include "load_client.hpp"
#include "load_requests.hpp"

namespace hufu::bench {

struct TxOptions {
    LoadShape shape = {};
    std::size_t window = 1;  ///< transactions begun and not over
    std::chrono::nanoseconds duration{std::chrono::seconds{3}};
    std::uint64_t transactions_max = UINT64_MAX;
    /// Open loop: so many transactions per second, each at its own time; latency counts from that time. 0: as the window allows.
    double per_second = 0;
    std::uint64_t first_id = 1;
    bool end = true;  ///< false: the halves stay
    /// Counts refused requests, whose transactions are not committed; otherwise the first one is an error.
    bool refusals_allowed = false;
};

struct TxResult {
    std::uint64_t begun = 0;
    std::uint64_t halves = 0;     ///< answered
    std::uint64_t committed = 0;  ///< END answered with success
    std::uint64_t refused = 0;
    std::string refusal = {};                        ///< what the broker said of the first refused request
    double seconds = 0;                              ///< first request to last answer
    std::vector<std::uint32_t> transaction_us = {};  ///< of each: begin (open loop: when it was due) to END's answer
    std::vector<std::uint32_t> end_us = {};          ///< of each: END to its answer
    std::vector<SteadyTime> begun_at = {};           ///< by id, from `first_id` on
    std::int64_t first_log_offset = 0;               ///< of the first half and of the last one
    std::int64_t last_log_offset = 0;
    [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(committed) / seconds : 0; }
};

[[nodiscard]] double percentile(std::vector<std::uint32_t> values, double part);

/// For one thread.
class TxClient {
public:
    static Result<TxClient> connect(std::uint16_t port, const TxOptions& options);
    ~TxClient();
    TxClient(TxClient&& other) noexcept;
    TxClient& operator=(TxClient&&) = delete;

    /// Begins transactions for the duration, then waits until all are over.
    Result<TxResult> run();

private:
    struct Open {
        SteadyTime begun_at{};
        SteadyTime end_at{};
        bool ending = false;
    };
    explicit TxClient(const TxOptions& options);
    void begin_due(SteadyTime now);
    void begin_one(SteadyTime due);
    Result<void> flush();
    Result<bool> take_answers();
    Result<void> take_answer(SteadyTime now);
    Result<void> take_half(Open& open, std::int32_t opaque, SteadyTime now);
    void over();
    void sleep(SteadyTime now) const;

    TxOptions options_;
    LoadRequests requests_;
    int socket_ = -1;
    std::string out_;
    remoting::FrameDecoder decoder_;
    remoting::CommandView command_;
    std::vector<Open> open_;  // by id, a ring
    std::uint64_t next_id_ = 1;
    std::size_t count_open_ = 0;
    SteadyTime next_due_{};
    bool beginning_ = false;
    TxResult result_;
};

}  // namespace hufu::bench
