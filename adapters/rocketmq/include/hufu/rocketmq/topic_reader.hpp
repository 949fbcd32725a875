// Looking into topics by place, as an operator does.
#pragma once

#include <memory>

#include <hufu/deadletter/topic_reader.hpp>
#include <hufu/rocketmq/client.hpp>

namespace hufu::rocketmq {

/// Starts a client with one thread of its own; it connects with the first call. Works with every broker of the cluster, the
/// bundled one and RocketMQ's. Queues are called "BROKER/QUEUE". Positions of consumer groups are neither read nor moved;
/// pulls are made in the name of TOOLS_CONSUMER or, when requests are signed, of the group whose dead letters are read.
/// Borrows `clock`, `random` and `log`.
[[nodiscard]] Result<std::unique_ptr<deadletter::TopicReader>> open_topic_reader(ClientOptions client,
                                                                                 Clock& clock = system_clock(),
                                                                                 Random& random = system_random(),
                                                                                 Log& log = no_log());

}  // namespace hufu::rocketmq
