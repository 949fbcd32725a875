// What a crowd that only costs does to those who work.
#pragma once

#include "broker_bench.hpp"

namespace hufu::bench {

/// Adds the row idle_connections: the p99 of sends at 10,000 a second in open loop, with 5,000 connections that were used
/// once and now are silent, 50 that send a frame byte by byte and 10 that never read their answers, beside the p99 without
/// them. An error when a run was not valid.
Result<void> bench_crowd(const BrokerOptions& options, BrokerOutcome& outcome);

}  // namespace hufu::bench
