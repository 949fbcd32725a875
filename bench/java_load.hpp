// Other people's own producers as load, seen from the broker's side.
#pragma once

#include <string>

#include "versus.hpp"

namespace hufu::bench {

/// RocketMQ's own Java producer (its benchmark class, synchronous sends of `threads` threads), stored messages counted for
/// `seconds` after a warm-up of its virtual machine. The topic of `shape` must exist.
Leg rocketmq_producer_leg(const Side& side, const std::string& name_server, const LoadShape& shape, int threads,
                          double seconds, const std::string& folder);

/// Kafka's own producer (ProducerPerformance: acks=all, batches of 64 KiB) sending `messages` after `warm_up` that do not
/// count; the rate that it prints.
Leg kafka_producer_leg(const Side& side, const std::string& topic, std::uint64_t warm_up, std::uint64_t messages,
                       std::size_t body_bytes, const std::string& folder);

}  // namespace hufu::bench
