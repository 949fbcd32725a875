// The benchmark of transaction messages: its parts.
#pragma once

#include <memory>

#include "broker_bench.hpp"
#include "tx_client.hpp"
#include "versus.hpp"

namespace hufu::bench {

/// Transactions on ours and on Apache RocketMQ 5.3.3, in turn. Throws when a run was not valid.
BrokerOutcome bench_tx_vs_rocketmq(const BrokerOptions& options);
/// One transaction after the other, beside what the disk alone allows: two writes made durable, one after the other.
/// Throws when a run was not valid.
BrokerOutcome bench_tx_alone(const BrokerOptions& options);
/// 64 transactions at a time, and as many plain sends: what a transaction costs in plain sends. Throws when a run was not valid.
BrokerOutcome bench_tx_beside_plain(const BrokerOptions& options);
/// The half must be durable before its sender may commit, and the verdict before END is answered.
inline constexpr double syncs_per_transaction = 2;
/// Many halves without a verdict: what each costs in memory, how fast a broker starts with them, what END feels of them.
/// Throws when a run was not valid. `options.timers` is how many.
BrokerOutcome bench_tx_pending(const BrokerOptions& options);

/// Transactions of 1 KiB messages to `topic`.
[[nodiscard]] TxOptions tx_load(const BrokerOptions& options, const std::string& topic, std::size_t window);

}  // namespace hufu::bench
