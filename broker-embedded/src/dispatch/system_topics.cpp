#include "system_topics.hpp"

#include <algorithm>

#include <hufu/remoting/codes.hpp>

#include "names.hpp"

namespace hufu::broker {
namespace {

constexpr std::int32_t delay_levels = 18;
constexpr std::int32_t cluster_topic_queues = 16;

}  // namespace

std::vector<SystemTopic> system_topics(const DispatcherOptions& options) {
    using namespace remoting::permission;
    // Queue numbers and permissions of TopicConfigManager.
    std::vector<SystemTopic> topics;
    const auto add = [&](std::string name, std::int32_t queues, std::int32_t perm, bool takes_messages) {
        topics.push_back({std::move(name), {queues, queues, perm, false, 0, {}}, takes_messages});
    };
    if (options.auto_create_topics)  // its route says how a topic would look that a send creates
        add(std::string{template_topic}, options.default_queues, read | write | inherit, false);
    add(options.cluster, cluster_topic_queues, read | write | inherit, true);
    add(options.broker_name, 1, read | write | inherit, true);
    add(options.cluster + "_REPLY_TOPIC", 1, read | write, true);
    add("RMQ_SYS_TRACE_TOPIC", 1, read | write, true);
    add("SELF_TEST_TOPIC", 1, read | write, false);
    add("OFFSET_MOVED_EVENT", 1, read | write, false);
    add("SCHEDULE_TOPIC_XXXX", delay_levels, read | write, false);
    add("RMQ_SYS_TRANS_HALF_TOPIC", 1, read | write, false);
    add("RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, read | write, false);
    add("TRANS_CHECK_MAX_TIME_TOPIC", 1, read | write, false);
    add("rmq_sys_wheel_timer", 1, read | write, false);
    return topics;
}

std::optional<SystemTopic> find_system_topic(const DispatcherOptions& options, std::string_view name) {
    auto topics = system_topics(options);
    const auto found =
        std::find_if(topics.begin(), topics.end(), [&](const SystemTopic& topic) { return topic.name == name; });
    if (found == topics.end()) return std::nullopt;
    return std::move(*found);
}

}  // namespace hufu::broker
