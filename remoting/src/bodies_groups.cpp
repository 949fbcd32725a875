#include <hufu/remoting/bodies_groups.hpp>

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/object_map.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {

using namespace json_fields;

namespace {

constexpr std::array<std::string_view, 3> consume_types{"CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"};
constexpr std::array<std::string_view, 2> message_models{"BROADCASTING", "CLUSTERING"};
constexpr std::array<std::string_view, 6> consume_froms{
    "CONSUME_FROM_LAST_OFFSET",  "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",   "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_TIMESTAMP"};

/// The tags of `a || b`; none for `*`.
std::vector<std::string_view> tags_of(std::string_view expression) {
    std::vector<std::string_view> tags;
    while (!expression.empty()) {
        const std::size_t end = expression.find("||");
        std::string_view tag = expression.substr(0, end);
        expression = end == std::string_view::npos ? std::string_view{} : expression.substr(end + 2);
        while (!tag.empty() && tag.front() == ' ') {
            tag.remove_prefix(1);
        }
        while (!tag.empty() && tag.back() == ' ') {
            tag.remove_suffix(1);
        }
        if (!tag.empty() && tag != "*") {
            tags.push_back(tag);
        }
    }
    return tags;
}

json::string text_value(std::string_view text) { return json::string{text.data(), text.size()}; }

json::value to_value(const SubscriptionData& subscription) {
    json::array tags;
    json::array codes;
    for (const std::string_view tag : tags_of(subscription.expression)) {
        tags.push_back(text_value(tag));
        codes.push_back(java_hash(tag));
    }
    return json::object{{"topic", subscription.topic},
                        {"subString", subscription.expression},
                        {"tagsSet", std::move(tags)},
                        {"codeSet", std::move(codes)},
                        {"subVersion", subscription.version},
                        {"expressionType", subscription.expression_type},
                        {"classFilterMode", false}};
}

json::object to_value(const ClientConnection& client) {
    return json::object{{"clientId", client.client_id},
                        {"clientAddr", client.address},
                        {"language", client.language},
                        {"version", client.version}};
}

json::array to_value(const std::vector<ClientConnection>& clients) {
    json::array set;
    for (const ClientConnection& client : clients) set.push_back(to_value(client));
    return set;
}

/// JSON that was checked when it came in.
json::value raw(std::string_view text) {
    json::error_code error;
    json::value value = json::parse(text, error);
    return error ? json::value{} : value;
}

GroupConfig config_of(const json::object& object) {
    GroupConfig config;
    config.name = text_of(object, "groupName");
    config.consume_enabled = flag_of(object, "consumeEnable", config.consume_enabled);
    config.consume_from_min_enabled = flag_of(object, "consumeFromMinEnable", config.consume_from_min_enabled);
    config.consume_broadcast_enabled = flag_of(object, "consumeBroadcastEnable", config.consume_broadcast_enabled);
    config.consume_orderly = flag_of(object, "consumeMessageOrderly", config.consume_orderly);
    config.retry_queues = number32_of(object, "retryQueueNums", config.retry_queues);
    config.retry_times_max = number32_of(object, "retryMaxTimes", config.retry_times_max);
    config.broker_id = number_of(object, "brokerId", config.broker_id);
    config.slow_consumers_broker_id = number_of(object, "whichBrokerWhenConsumeSlowly", config.slow_consumers_broker_id);
    config.tell_members = flag_of(object, "notifyConsumerIdsChangedEnable", config.tell_members);
    config.sys_flag = number32_of(object, "groupSysFlag", config.sys_flag);
    config.consume_timeout_minutes = number32_of(object, "consumeTimeoutMinute", config.consume_timeout_minutes);
    if (const json::value* policy = object.if_contains("groupRetryPolicy"); policy != nullptr && policy->is_object())
        config.retry_policy_json = json::serialize(*policy);
    if (const json::value* attributes = object.if_contains("attributes"); attributes != nullptr && attributes->is_object())
        for (const auto& [key, value] : attributes->get_object())
            config.attributes.emplace(std::string{key.data(), key.size()}, text_of(attributes->get_object(), key));
    return config;
}

json::object to_value(const GroupConfig& config) {
    json::object attributes;
    for (const auto& [name, value] : config.attributes) attributes.emplace(name, value);
    return json::object{{"attributes", std::move(attributes)},
                        {"brokerId", config.broker_id},
                        {"consumeBroadcastEnable", config.consume_broadcast_enabled},
                        {"consumeEnable", config.consume_enabled},
                        {"consumeFromMinEnable", config.consume_from_min_enabled},
                        {"consumeMessageOrderly", config.consume_orderly},
                        {"consumeTimeoutMinute", config.consume_timeout_minutes},
                        {"groupName", config.name},
                        {"groupRetryPolicy", raw(config.retry_policy_json)},
                        {"groupSysFlag", config.sys_flag},
                        {"notifyConsumerIdsChangedEnable", config.tell_members},
                        {"retryMaxTimes", config.retry_times_max},
                        {"retryQueueNums", config.retry_queues},
                        {"whichBrokerWhenConsumeSlowly", config.slow_consumers_broker_id}};
}

}  // namespace

Result<Heartbeat> Heartbeat::parse(std::string_view text) {
    auto object = parse_object(text, "heartbeat");
    if (!object) {
        return object.error();
    }
    Heartbeat heartbeat;
    heartbeat.client_id = text_of(*object, "clientID");
    if (heartbeat.client_id.empty()) {
        return broken("heartbeat: \"clientID\" is missing");
    }
    heartbeat.fingerprint = number32_of(*object, "heartbeatFingerprint");
    heartbeat.without_subscriptions = flag_of(*object, "withoutSub", false);
    for_each_object(*object, "producerDataSet", [&heartbeat](const json::object& producer) {
        heartbeat.producer_groups.push_back(text_of(producer, "groupName"));
    });
    for_each_object(*object, "consumerDataSet", [&heartbeat](const json::object& consumer) {
        ConsumerData data;
        data.group = text_of(consumer, "groupName");
        data.consume_type = enum_of(consumer, "consumeType", consume_types, ConsumeType::passively);
        data.message_model = enum_of(consumer, "messageModel", message_models, MessageModel::clustering);
        data.from = enum_of(consumer, "consumeFromWhere", consume_froms, ConsumeFromWhere::last_offset);
        for_each_object(consumer, "subscriptionDataSet", [&data](const json::object& subscription) {
            data.subscriptions.push_back({.topic = text_of(subscription, "topic"),
                                          .expression = text_of(subscription, "subString", "*"),
                                          .version = number_of(subscription, "subVersion"),
                                          .expression_type = text_of(subscription, "expressionType", "TAG")});
        });
        heartbeat.consumers.push_back(std::move(data));
    });
    return heartbeat;
}

std::string Heartbeat::to_json() const {
    json::array producers;
    for (const std::string& group : producer_groups) {
        producers.push_back(json::object{{"groupName", group}});
    }
    json::array consumer_set;
    for (const ConsumerData& consumer : consumers) {
        json::array subscriptions;
        for (const SubscriptionData& subscription : consumer.subscriptions) {
            subscriptions.push_back(to_value(subscription));
        }
        consumer_set.push_back(
            json::object{{"groupName", consumer.group},
                         {"consumeType", text_value(consume_types[static_cast<std::size_t>(consumer.consume_type)])},
                         {"messageModel", text_value(message_models[static_cast<std::size_t>(consumer.message_model)])},
                         {"consumeFromWhere", text_value(consume_froms[static_cast<std::size_t>(consumer.from)])},
                         {"unitMode", false},
                         {"subscriptionDataSet", std::move(subscriptions)}});
    }
    return json::serialize(json::object{{"clientID", client_id},
                                        {"producerDataSet", std::move(producers)},
                                        {"consumerDataSet", std::move(consumer_set)},
                                        {"heartbeatFingerprint", fingerprint},
                                        {"withoutSub", without_subscriptions}});
}

Result<ConsumerList> ConsumerList::parse(std::string_view text) {
    auto object = parse_object(text, "consumer list");
    if (!object) {
        return object.error();
    }
    ConsumerList list;
    if (const json::value* ids = object->if_contains("consumerIdList"); ids != nullptr && ids->is_array()) {
        for (const json::value& id : ids->get_array()) {
            if (id.is_string()) {
                list.client_ids.emplace_back(id.get_string().data(), id.get_string().size());
            }
        }
    }
    return list;
}

std::string ConsumerList::to_json() const {
    json::array ids;
    for (const std::string& id : client_ids) {
        ids.push_back(json::string{id});
    }
    return json::serialize(json::object{{"consumerIdList", std::move(ids)}});
}

Result<GroupConfig> GroupConfig::parse(std::string_view text) {
    auto object = parse_object(text, "group configuration");
    if (!object) return object.error();
    return config_of(*object);
}

std::string GroupConfig::to_json() const { return json::serialize(to_value(*this)); }

Result<GroupConfigList> GroupConfigList::parse(std::string_view text) {
    auto object = parse_object(text, "group configurations");
    if (!object) return object.error();
    GroupConfigList list;
    for_each_object(*object, "groupConfigList",
                    [&list](const json::object& group) { list.groups.push_back(config_of(group)); });
    return list;
}

std::string GroupConfigList::to_json() const {
    json::array list;
    for (const GroupConfig& group : groups) list.push_back(to_value(group));
    return json::serialize(json::object{{"groupConfigList", std::move(list)}});
}

std::string GroupConfigTable::to_json() const {
    json::object table;
    for (const GroupConfig& group : groups) table.emplace(group.name, to_value(group));
    return json::serialize(json::object{
        {"dataVersion", json::object{{"counter", version_counter}, {"stateVersion", 0}, {"timestamp", version_timestamp}}},
        {"forbiddenTable", json::object{}},
        {"subscriptionGroupTable", std::move(table)}});
}

std::string ConsumerConnections::to_json() const {
    json::object table;
    for (const SubscriptionData& subscription : subscriptions) table.emplace(subscription.topic, to_value(subscription));
    return json::serialize(
        json::object{{"connectionSet", to_value(connections)},
                     {"consumeFromWhere", text_value(consume_froms[static_cast<std::size_t>(from)])},
                     {"consumeType", text_value(consume_types[static_cast<std::size_t>(consume_type)])},
                     {"messageModel", text_value(message_models[static_cast<std::size_t>(message_model)])},
                     {"subscriptionTable", std::move(table)}});
}

std::string ProducerConnections::to_json() const {
    return json::serialize(json::object{{"connectionSet", to_value(connections)}});
}

std::string ProducerTable::to_json() const {
    json::object table;
    for (const auto& [group, producers] : groups) {
        json::array list;
        for (const ProducerInfo& producer : producers)
            list.push_back(json::object{{"clientId", producer.client.client_id},
                                        {"language", producer.client.language},
                                        {"lastUpdateTimestamp", producer.last_beat_ms},
                                        {"remoteIP", producer.client.address},
                                        {"version", producer.client.version}});
        table.emplace(group, std::move(list));
    }
    return json::serialize(json::object{{"data", std::move(table)}});
}

std::string subscription_answer_json(std::string_view group, std::string_view topic, const SubscriptionData* subscription) {
    json::object answer{{"group", text_value(group)}, {"topic", text_value(topic)}};
    if (subscription != nullptr) answer.emplace("subscriptionData", to_value(*subscription));
    return json::serialize(answer);
}

std::string topic_list_json(const std::vector<std::string>& topics, std::string_view broker_address) {
    json::array list;
    for (const std::string& topic : topics) list.push_back(text_value(topic));
    return json::serialize(json::object{{"brokerAddr", text_value(broker_address)}, {"topicList", std::move(list)}});
}

std::string offset_table_json(const std::vector<QueueOffset>& offsets) {
    std::string text = R"({"offsetTable":)";
    QueueMapWriter map{text};
    for (const QueueOffset& entry : offsets) map.add(entry.queue, entry.offset);
    map.finish();
    return text + "}";
}

std::string offset_list_json(const std::vector<QueueOffset>& offsets) {
    json::array list;
    for (const QueueOffset& entry : offsets)
        list.push_back(json::object{{"topic", entry.queue.topic},
                                    {"brokerName", entry.queue.broker_name},
                                    {"queueId", entry.queue.queue_id},
                                    {"offset", entry.offset}});
    return json::serialize(json::object{{"offsetTable", std::move(list)}});
}

}  // namespace hufu::remoting
