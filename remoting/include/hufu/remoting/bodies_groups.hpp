// JSON bodies about consumer groups: their configuration, who is connected, where they stand.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/remoting/bodies.hpp>

namespace hufu::remoting {

/// What an operator decides about a group (SubscriptionGroupConfig): body of 200, member of 225 and 201, answer to 352.
struct GroupConfig {
    std::string name;
    bool consume_enabled = true;
    bool consume_from_min_enabled = true;
    bool consume_broadcast_enabled = true;
    bool consume_orderly = false;
    std::int32_t retry_queues = 1;
    std::int32_t retry_times_max = 16;
    std::int64_t broker_id = 0;
    std::int64_t slow_consumers_broker_id = 1;  ///< whichBrokerWhenConsumeSlowly
    bool tell_members = true;                   ///< notifyConsumerIdsChangedEnable
    std::int32_t sys_flag = 0;
    std::int32_t consume_timeout_minutes = 15;
    std::string retry_policy_json = R"({"type":"CUSTOMIZED"})";  ///< of the pop consumption; kept as it came
    std::map<std::string, std::string> attributes = {};
    friend bool operator==(const GroupConfig&, const GroupConfig&) = default;

    [[nodiscard]] static Result<GroupConfig> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Body of 225.
struct GroupConfigList {
    std::vector<GroupConfig> groups;

    [[nodiscard]] static Result<GroupConfigList> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Answer to 201.
struct GroupConfigTable {
    std::vector<GroupConfig> groups;
    std::int64_t version_timestamp = 0;  ///< ms; changes with every change of a group
    std::int64_t version_counter = 0;

    [[nodiscard]] std::string to_json() const;
};

/// One client in the answers to 203 and 204.
struct ClientConnection {
    std::string client_id;
    std::string address;   ///< "10.0.0.2:4711"
    std::string language;  ///< "JAVA"
    std::int32_t version = 0;
};

/// Answer to 203.
struct ConsumerConnections {
    std::vector<ClientConnection> connections;
    std::vector<SubscriptionData> subscriptions;
    ConsumeType consume_type = ConsumeType::passively;
    MessageModel message_model = MessageModel::clustering;
    ConsumeFromWhere from = ConsumeFromWhere::last_offset;

    [[nodiscard]] std::string to_json() const;
};

/// Answer to 204.
struct ProducerConnections {
    std::vector<ClientConnection> connections;

    [[nodiscard]] std::string to_json() const;
};

/// One producer in the answer to 328.
struct ProducerInfo {
    ClientConnection client;
    std::int64_t last_beat_ms = 0;  ///< since 1970 UTC
};

/// Answer to 328: producers by group.
struct ProducerTable {
    std::map<std::string, std::vector<ProducerInfo>> groups;

    [[nodiscard]] std::string to_json() const;
};

/// Answer to 345. Without a subscription: null there.
[[nodiscard]] std::string subscription_answer_json(std::string_view group, std::string_view topic,
                                                   const SubscriptionData* subscription);

/// {"topicList":[...],"brokerAddr":"10.0.0.1:10911"}: answer to 343.
[[nodiscard]] std::string topic_list_json(const std::vector<std::string>& topics, std::string_view broker_address);

/// One queue with an offset, as the C++ client wants it in the body of 220.
struct QueueOffset {
    MessageQueue queue;
    std::int64_t offset = 0;
};

/// {"offsetTable":...}: the answer to 222, and the body of 220 for clients of every language but C++.
[[nodiscard]] std::string offset_table_json(const std::vector<QueueOffset>& offsets);
/// The same for the C++ client, which reads an array.
[[nodiscard]] std::string offset_list_json(const std::vector<QueueOffset>& offsets);

}  // namespace hufu::remoting
