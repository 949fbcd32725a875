// From a topic's route to its queues.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <hufu/remoting/bodies.hpp>

#include "cluster.hpp"

namespace hufu::rocketmq {

struct QueueAt {
    remoting::MessageQueue queue;
    std::string address;  ///< of the broker's master
    friend bool operator==(const QueueAt&, const QueueAt&) = default;
};

/// The template topic that brokers make new topics from.
inline constexpr std::string_view template_topic = "TBW102";
/// What a send asks for when it makes the topic: retry and dead-letter topics have one queue, others what the template has
/// (a broker takes the smaller). Fewer would move keys to other queues as soon as the true number is known.
[[nodiscard]] std::int32_t queues_to_make(std::string_view topic) noexcept;

/// Writable queues of `topic`, in the order every client of RocketMQ numbers them: by broker name, then queue.
[[nodiscard]] std::vector<QueueAt> writable_queues(const Cluster& cluster, const std::string& topic,
                                                   const remoting::TopicRoute& route);
/// The queues `topic` will have when the broker makes it from the template, whose route this is.
[[nodiscard]] std::vector<QueueAt> template_writable_queues(const Cluster& cluster, const std::string& topic,
                                                            remoting::TopicRoute route);
/// Readable queues, in the same order.
[[nodiscard]] std::vector<QueueAt> readable_queues(const Cluster& cluster, const std::string& topic,
                                                   const remoting::TopicRoute& route);

/// Which of `queues` queues a key's messages go to: abs(java_hash(key) % queues), as Java's SelectMessageQueueByHash.
[[nodiscard]] std::size_t queue_of_key(std::string_view ordering_key, std::size_t queues) noexcept;

}  // namespace hufu::rocketmq
