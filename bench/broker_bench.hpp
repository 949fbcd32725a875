// The broker's benchmark: what is asked of it, and its parts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/error.hpp>

#include "report.hpp"

namespace hufu::bench {

struct BrokerOptions {
    std::string broker = {};  ///< the hufu-broker program
    std::string folder = {};  ///< for logs, on the disk to be measured
    std::string versus = {};  ///< "rocketmq", "kafka", or empty: alone
    bool async = false;       ///< both sides answer before their flush
    double store_gb = 3;
    double seconds = 2;
    int rounds = 5;
    std::size_t connections = 1;
    std::size_t async_window = 16'384;
    int spin_us = 0;
    std::uint64_t timers = 1'000'000;  ///< of timers_1m
    std::vector<std::string> only = {};

    [[nodiscard]] bool wanted(const std::string& name) const;
};

/// Rows, and whether every check held.
struct BrokerOutcome {
    std::vector<ResultRow> rows = {};
    std::uint64_t lost = 0;        // acknowledged and not stored
    std::uint64_t invented = 0;    // stored and never sent
    std::uint64_t other_lost = 0;  // the same of the broker beside ours
    std::uint64_t other_invented = 0;

    /// Says it on standard error as well.
    void add(ResultRow row);
};

/// The rows that say whether the run's checks held.
void add_checks(BrokerOutcome& outcome, bool versus);

/// Beside what the disk alone can do. An error when a run was not valid.
Result<BrokerOutcome> bench_alone(const BrokerOptions& options);
/// Messages that are all due within one second: how long until the last one is delivered, what ordinary sends feel of it, and
/// how fast a broker starts while all of them are pending. An error when the run was not valid.
Result<void> bench_timers(const BrokerOptions& options, BrokerOutcome& outcome);
/// Beside Apache RocketMQ 5.3.3. Throws when a run was not valid.
BrokerOutcome bench_vs_rocketmq(const BrokerOptions& options);
/// Beside Apache Kafka 4.3.1. Throws when a run was not valid.
BrokerOutcome bench_vs_kafka(const BrokerOptions& options);

}  // namespace hufu::bench
