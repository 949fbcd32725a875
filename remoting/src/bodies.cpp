#include <hufu/remoting/bodies.hpp>

#include <hufu/remoting/ids.hpp>

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

json::value queue_to_json(const MessageQueue& queue) {
    return json::object{{"topic", queue.topic}, {"brokerName", queue.broker_name}, {"queueId", queue.queue_id}};
}

std::vector<MessageQueue> queues_of(const json::object& object, std::string_view name) {
    std::vector<MessageQueue> queues;
    for_each_object(object, name, [&queues](const json::object& queue) {
        queues.push_back({text_of(queue, "topic"), text_of(queue, "brokerName"), number32_of(queue, "queueId")});
    });
    return queues;
}

}  // namespace

Result<TopicRoute> TopicRoute::parse(std::string_view text) {
    auto object = parse_object(text, "topic route");
    if (!object) {
        return object.error();
    }
    TopicRoute route;
    route.order_conf = text_of(*object, "orderTopicConf");
    for_each_object(*object, "queueDatas", [&route](const json::object& queue) {
        route.queues.push_back({.broker_name = text_of(queue, "brokerName"),
                                .read_queues = number32_of(queue, "readQueueNums"),
                                .write_queues = number32_of(queue, "writeQueueNums"),
                                .perm = number32_of(queue, "perm"),
                                .topic_sys_flag = number32_of(queue, "topicSysFlag")});
    });
    for_each_object(*object, "brokerDatas", [&route](const json::object& broker) {
        BrokerData data{
            .cluster = text_of(broker, "cluster"), .broker_name = text_of(broker, "brokerName"), .addresses = {}};
        if (const json::value* addresses = broker.if_contains("brokerAddrs");
            addresses != nullptr && addresses->is_object()) {
            for (const auto& [key, value] : addresses->get_object()) {
                std::int64_t id = 0;
                const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
                if (error == std::errc{} && end == key.data() + key.size() && value.is_string()) {
                    data.addresses.emplace(id, std::string{value.get_string().data(), value.get_string().size()});
                }
            }
        }
        route.brokers.push_back(std::move(data));
    });
    return route;
}

std::string TopicRoute::to_json() const {
    json::array queue_datas;
    for (const QueueData& queue : queues) {
        queue_datas.push_back(json::object{{"brokerName", queue.broker_name},
                                           {"readQueueNums", queue.read_queues},
                                           {"writeQueueNums", queue.write_queues},
                                           {"perm", queue.perm},
                                           {"topicSysFlag", queue.topic_sys_flag}});
    }
    json::array broker_datas;
    for (const BrokerData& broker : brokers) {
        json::object addresses;
        for (const auto& [id, address] : broker.addresses) {
            addresses.emplace(std::to_string(id), address);
        }
        broker_datas.push_back(json::object{{"cluster", broker.cluster},
                                            {"brokerName", broker.broker_name},
                                            {"brokerAddrs", std::move(addresses)},
                                            {"enableActingMaster", false}});
    }
    json::object route{{"queueDatas", std::move(queue_datas)},
                       {"brokerDatas", std::move(broker_datas)},
                       {"filterServerTable", json::object{}}};
    if (!order_conf.empty()) route.emplace("orderTopicConf", order_conf);
    return json::serialize(route);
}

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
            json::array tags;
            json::array codes;
            for (const std::string_view tag : tags_of(subscription.expression)) {
                tags.push_back(json::string{tag.data(), tag.size()});
                codes.push_back(java_hash(tag));
            }
            subscriptions.push_back(json::object{{"topic", subscription.topic},
                                                 {"subString", subscription.expression},
                                                 {"tagsSet", std::move(tags)},
                                                 {"codeSet", std::move(codes)},
                                                 {"subVersion", subscription.version},
                                                 {"expressionType", subscription.expression_type},
                                                 {"classFilterMode", false}});
        }
        const auto name = [](std::string_view text) { return json::string{text.data(), text.size()}; };
        consumer_set.push_back(
            json::object{{"groupName", consumer.group},
                         {"consumeType", name(consume_types[static_cast<std::size_t>(consumer.consume_type)])},
                         {"messageModel", name(message_models[static_cast<std::size_t>(consumer.message_model)])},
                         {"consumeFromWhere", name(consume_froms[static_cast<std::size_t>(consumer.from)])},
                         {"unitMode", false},
                         {"subscriptionDataSet", std::move(subscriptions)}});
    }
    return json::serialize(json::object{{"clientID", client_id},
                                        {"producerDataSet", std::move(producers)},
                                        {"consumerDataSet", std::move(consumer_set)},
                                        {"heartbeatFingerprint", 0},
                                        {"withoutSub", false}});
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

Result<LockRequest> LockRequest::parse(std::string_view text) {
    auto object = parse_object(text, "queue lock");
    if (!object) {
        return object.error();
    }
    return LockRequest{text_of(*object, "consumerGroup"), text_of(*object, "clientId"), queues_of(*object, "mqSet")};
}

std::string LockRequest::to_json() const {
    json::array set;
    for (const MessageQueue& queue : queues) {
        set.push_back(queue_to_json(queue));
    }
    return json::serialize(
        json::object{{"consumerGroup", consumer_group}, {"clientId", client_id}, {"mqSet", std::move(set)}});
}

Result<LockResponse> LockResponse::parse(std::string_view text) {
    auto object = parse_object(text, "queue lock answer");
    if (!object) {
        return object.error();
    }
    return LockResponse{queues_of(*object, "lockOKMQSet")};
}

std::string LockResponse::to_json() const {
    json::array set;
    for (const MessageQueue& queue : locked) {
        set.push_back(queue_to_json(queue));
    }
    return json::serialize(json::object{{"lockOKMQSet", std::move(set)}});
}

}  // namespace hufu::remoting
