#include <hufu/remoting/topic_bodies.hpp>

#include "json_fields.hpp"

namespace hufu::remoting {
namespace {

using namespace json_fields;

json::object to_object(const TopicData& topic) {
    json::object attributes;
    for (const auto& [name, value] : topic.attributes) attributes.emplace(name, value);
    return json::object{{"attributes", std::move(attributes)},
                        {"order", topic.order},
                        {"perm", topic.perm},
                        {"readQueueNums", topic.read_queues},
                        {"topicFilterType", "SINGLE_TAG"},
                        {"topicName", topic.name},
                        {"topicSysFlag", topic.sys_flag},
                        {"writeQueueNums", topic.write_queues}};
}

TopicData from_object(const json::object& object) {
    TopicData topic;
    topic.name = text_of(object, "topicName");
    topic.read_queues = number32_of(object, "readQueueNums", topic.read_queues);
    topic.write_queues = number32_of(object, "writeQueueNums", topic.write_queues);
    topic.perm = number32_of(object, "perm", topic.perm);
    topic.sys_flag = number32_of(object, "topicSysFlag");
    topic.order = flag_of(object, "order", false);
    if (const json::value* attributes = object.if_contains("attributes"); attributes != nullptr && attributes->is_object())
        for (const auto& [name, value] : attributes->get_object()) {
            const std::string key{name.data(), name.size()};
            topic.attributes.emplace(key, text_of(attributes->get_object(), key));
        }
    return topic;
}

}  // namespace

Result<TopicData> TopicData::parse(std::string_view text) {
    auto object = parse_object(text, "topic config");
    if (!object) return object.error();
    return from_object(*object);
}

std::string TopicData::to_json() const { return json::serialize(to_object(*this)); }

Result<std::vector<TopicData>> parse_topic_list(std::string_view text) {
    auto object = parse_object(text, "list of topic configs");
    if (!object) return object.error();
    std::vector<TopicData> topics;
    for_each_object(*object, "topicConfigList",
                    [&topics](const json::object& topic) { topics.push_back(from_object(topic)); });
    return topics;
}

std::string topic_table_json(const std::vector<TopicData>& topics, std::int64_t version) {
    json::object table;
    for (const TopicData& topic : topics) table.emplace(topic.name, to_object(topic));
    return json::serialize(
        json::object{{"dataVersion", json::object{{"counter", version}, {"stateVersion", 0}, {"timestamp", 0}}},
                     {"topicConfigTable", std::move(table)}});
}

Result<std::vector<TopicData>> parse_topic_table(std::string_view text) {
    auto object = parse_object(text, "table of topic configs");
    if (!object) return object.error();
    std::vector<TopicData> topics;
    const json::value* table = object->if_contains("topicConfigTable");
    if (table == nullptr || !table->is_object()) return broken("table of topic configs: \"topicConfigTable\" is missing");
    for (const auto& [name, topic] : table->get_object())
        if (topic.is_object()) topics.push_back(from_object(topic.get_object()));
    return topics;
}

Result<TopicNames> TopicNames::parse(std::string_view text) {
    auto object = parse_object(text, "topic names");
    if (!object) return object.error();
    TopicNames list;
    if (const json::value* names = object->if_contains("topicList"); names != nullptr && names->is_array())
        for (const json::value& name : names->get_array())
            if (name.is_string()) list.names.emplace_back(name.get_string().data(), name.get_string().size());
    list.broker_address = text_of(*object, "brokerAddr");
    return list;
}

std::string TopicNames::to_json() const {
    json::array list;
    for (const std::string& name : names) list.push_back(json::string{name});
    json::object object{{"topicList", std::move(list)}};
    if (!broker_address.empty()) object.emplace("brokerAddr", broker_address);
    return json::serialize(object);
}

}  // namespace hufu::remoting
