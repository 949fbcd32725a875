// The broker's topics: finding, making, changing, loading them.
#include "topics.hpp"

#include <algorithm>
#include <charconv>

#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::string_view key_prefix = "topic/";
/// Where the log stood when the topic was deleted: what is older is not its successor's.
constexpr std::string_view deleted_prefix = "deleted/";
constexpr std::uint64_t state_overhead = 64;  // of a state entry in the log, at most

std::string key_of(std::string_view name) { return std::string{key_prefix}.append(name); }

/// The log keeps queues by name for good: those of the topic no longer show what they hold by now.
void hide_queues(DispatchState& state, std::string_view name, std::uint64_t log_offset) {
    for (std::int32_t queue_id = 0;; ++queue_id) {
        const auto queue = state.log.find_queue(name, queue_id);
        if (!queue) return;
        state.log.hide_before(*queue, log_offset);
    }
}

/// Takes the stored config over into memory.
Topic& adopt(DispatchState& state, std::string_view name, TopicConfig config) {
    Topic& topic = state.topics.try_emplace(std::string{name}).first->second;
    static_cast<TopicConfig&>(topic) = std::move(config);
    topic.name = name;
    topic.type = topic.message_type();
    topic.waits_for_disk = topic.flush_sync();
    const auto count = static_cast<std::size_t>(std::max(topic.read_queues, topic.write_queues));
    // A queue that is left out keeps its messages in the log: growing again brings them back.
    topic.queues.resize(std::min(topic.queues.size(), count));
    while (topic.queues.size() < count)
        topic.queues.push_back(state.log.open_queue(name, static_cast<std::int32_t>(topic.queues.size())));
    for (const QueueHandle queue : topic.queues) state.stats.watch_queue(queue, name);
    return topic;
}

}  // namespace

Topic* DispatchState::find_topic(std::string_view name) {
    const auto topic = topics.find(name);
    return topic == topics.end() ? nullptr : &topic->second;
}

QueueWaits& DispatchState::queue(QueueHandle handle) {
    if (queues.size() <= handle.value) queues.resize(handle.value + 1);
    return queues[handle.value];
}

Result<Topic*> DispatchState::store_topic(std::string_view name, TopicConfig config) {
    if (std::string fault = config.fault(name); !fault.empty())
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(fault)};
    const Topic* known = find_topic(name);
    if (known != nullptr && *known == config) return find_topic(name);
    if (known == nullptr && topics.size() >= options.topics_max)
        return Error{ErrorCode::busy, Disposition::reject,
                     "topic \"" + std::string{name} + "\" was not created: the broker has " +
                         std::to_string(options.topics_max) + " topics already"};
    if (log.queue_count() >= options.queues_max)
        return Error{ErrorCode::busy, Disposition::reject,
                     "topic \"" + std::string{name} + "\" was not stored: the broker has " +
                         std::to_string(options.queues_max) + " queues already"};
    const auto put = log.put_state(key_of(name), config.to_text());
    if (!put) return put.error();
    changed_at = *put;
    ++topics_version;
    return &adopt(*this, name, std::move(config));
}

Result<void> DispatchState::delete_topic(std::string_view name) {
    const auto found = topics.find(name);
    if (found == topics.end()) return {};
    const std::string key = key_of(name);
    const std::string tombstone = std::string{deleted_prefix}.append(name);
    const std::string end = std::to_string(log.end_offset());
    // Both or neither, or a crash between them would hand old messages to the topic's successor.
    if (auto reserved = log.reserve(2 * (tombstone.size() + end.size() + state_overhead), 2); !reserved) return reserved;
    if (const auto put = log.put_state(tombstone, end); !put) return put.error();
    const auto erased = log.erase_state(key);
    if (!erased) return erased.error();
    changed_at = *erased;
    ++topics_version;
    const Topic topic = std::move(found->second);
    topics.erase(found);
    hide_queues(*this, topic.name, log.end_offset());
    forget_positions(*this, topic);
    stats.forget_topic(topic.name);
    for (const QueueHandle queue : topic.queues) refuse_parked_pulls(*this, queue, topic.name);
    return {};
}

Result<Topic*> DispatchState::create_topic(std::string_view name, std::int32_t queue_count) {
    TopicConfig config;
    config.read_queues = config.write_queues = queue_count;
    return store_topic(name, std::move(config));
}

Topic* DispatchState::require_queue(const Request& request, std::string_view name, std::int32_t queue_id) {
    Topic* topic = find_topic(name);
    if (topic == nullptr) {
        std::string fault = topic_name_fault(name);
        const auto code = fault.empty() ? ResponseCode::topic_not_exist : ResponseCode::invalid_parameter;
        if (fault.empty()) fault = "topic \"" + std::string{name} + "\" does not exist; send to it or create it first";
        refuse(request, code, fault);
        return nullptr;
    }
    if (queue_id < 0 || queue_id >= static_cast<std::int32_t>(topic->queues.size())) {
        refuse(request, ResponseCode::invalid_parameter,
               "topic \"" + topic->name + "\" has queues 0 to " + std::to_string(topic->queues.size() - 1) + ", not " +
                   std::to_string(queue_id));
        return nullptr;
    }
    return topic;
}

void load_topics(DispatchState& state) {
    std::vector<std::pair<std::string, TopicConfig>> found;
    state.log.for_each_state(key_prefix, [&](std::string_view key, std::string_view value) {
        if (auto config = TopicConfig::parse(value)) {
            found.emplace_back(key.substr(key_prefix.size()), std::move(*config));
        } else {
            state.alarm("the stored topic \"" + std::string{key} + "\" cannot be read and was passed over");
        }
    });
    for (auto& [name, config] : found) adopt(state, name, std::move(config));

    std::vector<std::string> outdated;
    state.log.for_each_state(deleted_prefix, [&](std::string_view key, std::string_view value) {
        std::uint64_t log_offset = 0;
        const bool number = std::from_chars(value.data(), value.data() + value.size(), log_offset).ec == std::errc{};
        if (number && log_offset > state.log.start_offset()) {
            hide_queues(state, key.substr(deleted_prefix.size()), log_offset);
        } else {
            outdated.emplace_back(key);  // retention has taken all of it
        }
    });
    for (const std::string& key : outdated)
        if (!state.log.erase_state(key)) break;  // the next start tries again
}

}  // namespace hufu::broker
