// The cases of the replay benchmark. Each adds its rows, and throws std::runtime_error when the run was not valid.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <hufu/core/message.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/test_support/redis_server.hpp>

#include "broker_process.hpp"
#include "report.hpp"

namespace hufu::bench {

struct ReplayBench {
    std::uint64_t entries = 1'000'000;
    int seconds = 5;          ///< of the live legs
    std::string broker = {};  ///< the hufu-broker program
};

/// A durable broker, and a Redis that syncs its file with every write.
class ReplayStage {
public:
    explicit ReplayStage(const ReplayBench& options);
    ~ReplayStage();
    ReplayStage(const ReplayStage&) = delete;
    ReplayStage& operator=(const ReplayStage&) = delete;

    [[nodiscard]] std::unique_ptr<degradation::Buffer> redis(const std::string& name) const;
    [[nodiscard]] std::unique_ptr<degradation::Buffer> journal() const;
    [[nodiscard]] std::unique_ptr<Publisher> publisher() const;
    [[nodiscard]] const test_support::RedisServer& server() const { return server_; }

private:
    std::string folder_;
    test_support::RedisServer server_;
    std::unique_ptr<BrokerProcess> broker_;
};

/// `count` messages of 256 bytes of 1,000 keys, with ids, numbered from `first`.
[[nodiscard]] std::vector<Message> bench_messages(std::uint64_t first, std::uint64_t count);
/// Spills `entries` messages, several calls under way; the rate per second.
double spill_all(degradation::Buffer& buffer, std::uint64_t entries);
/// Publishes as many directly, in the replayer's batches; the rate per second.
double publish_all(Publisher& publisher, std::uint64_t entries);

void bench_spill_and_replay(const ReplayStage& stage, const ReplayBench& options, std::vector<ResultRow>& rows);
/// Messages a second that the replay of the case above reached.
void bench_live(const ReplayStage& stage, const ReplayBench& options, double replay_rate, std::vector<ResultRow>& rows);

}  // namespace hufu::bench
