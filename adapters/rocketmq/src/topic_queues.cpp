#include "topic_queues.hpp"

#include <algorithm>
#include <cstdlib>

#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/ids.hpp>

namespace hufu::rocketmq {
namespace {

// A route that claims more is rubbish, and would cost memory.
constexpr std::int32_t queues_max = 65'536;

std::vector<QueueAt> collect(const Cluster& cluster, const std::string& topic, const remoting::TopicRoute& route,
                             std::int32_t perm, std::int32_t remoting::QueueData::*count) {
    std::vector<QueueAt> queues;
    for (const remoting::QueueData& data : route.queues) {
        const std::string address = cluster.broker_address(route, data.broker_name);
        if ((data.perm & perm) == 0 || address.empty()) {
            continue;
        }
        for (std::int32_t id = 0; id < std::min(data.*count, queues_max); ++id) {
            queues.push_back({{topic, data.broker_name, id}, address});
        }
    }
    std::sort(queues.begin(), queues.end(), [](const QueueAt& a, const QueueAt& b) { return a.queue < b.queue; });
    return queues;
}

}  // namespace

std::int32_t queues_to_make(std::string_view topic) noexcept {
    constexpr std::int32_t as_many_as_the_template = 1'024;
    return topic.starts_with("%RETRY%") || topic.starts_with("%DLQ%") ? 1 : as_many_as_the_template;
}

std::vector<QueueAt> writable_queues(const Cluster& cluster, const std::string& topic, const remoting::TopicRoute& route) {
    return collect(cluster, topic, route, remoting::permission::write, &remoting::QueueData::write_queues);
}

std::vector<QueueAt> template_writable_queues(const Cluster& cluster, const std::string& topic, remoting::TopicRoute route) {
    for (remoting::QueueData& data : route.queues) {
        data.write_queues = std::min(data.write_queues, queues_to_make(topic));
    }
    return writable_queues(cluster, topic, route);
}

std::vector<QueueAt> readable_queues(const Cluster& cluster, const std::string& topic, const remoting::TopicRoute& route) {
    return collect(cluster, topic, route, remoting::permission::read, &remoting::QueueData::read_queues);
}

std::size_t queue_of_key(std::string_view ordering_key, std::size_t queues) noexcept {
    return static_cast<std::size_t>(std::abs(remoting::java_hash(ordering_key) % static_cast<std::int32_t>(queues)));
}

}  // namespace hufu::rocketmq
