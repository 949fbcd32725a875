#include <hufu/remoting/bodies.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {

using namespace json_fields;

namespace {

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
