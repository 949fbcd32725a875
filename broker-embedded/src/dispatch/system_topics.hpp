// The topics that a RocketMQ broker has from the start, as clients and tools expect to find them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/dispatcher.hpp>

#include "topics.hpp"

namespace hufu::broker {

/// One such topic. It is listed and routed from the start, and takes room in the log when the first message comes.
struct SystemTopic {
    std::string name;
    TopicConfig config;
    bool takes_messages = false;  ///< from clients
};

[[nodiscard]] std::vector<SystemTopic> system_topics(const DispatcherOptions& options);
[[nodiscard]] std::optional<SystemTopic> find_system_topic(const DispatcherOptions& options, std::string_view name);

}  // namespace hufu::broker
