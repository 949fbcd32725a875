// JSON bodies: routes, heartbeats, group members, queue locks. Rare commands, so plain values and allocation are fine.
// Reading is tolerant (numbers as strings and the reverse, absent sets, unquoted numeric keys of a real name server).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// Queues of a topic on one broker.
struct QueueData {
    std::string broker_name;
    std::int32_t read_queues = 0;
    std::int32_t write_queues = 0;
    std::int32_t perm = 6;  ///< permission bits
    std::int32_t topic_sys_flag = 0;
    friend bool operator==(const QueueData&, const QueueData&) = default;
};

/// Addresses of one broker's members; id 0 is the master.
struct BrokerData {
    std::string cluster;
    std::string broker_name;
    std::map<std::int64_t, std::string> addresses;
    friend bool operator==(const BrokerData&, const BrokerData&) = default;
};

/// Body of the answer to 105.
struct TopicRoute {
    std::vector<QueueData> queues;
    std::vector<BrokerData> brokers;
    std::string order_conf = {};  ///< "broker-a:4;broker-b:4": the queues of an ordered topic; empty: not said
    friend bool operator==(const TopicRoute&, const TopicRoute&) = default;

    [[nodiscard]] static Result<TopicRoute> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// One topic in a consumer's heartbeat.
struct SubscriptionData {
    std::string topic;
    std::string expression = "*";  ///< subString
    std::int64_t version = 0;      ///< subVersion
    std::string expression_type = "TAG";
    friend bool operator==(const SubscriptionData&, const SubscriptionData&) = default;
};

enum class ConsumeType : std::uint8_t { actively, passively, pop };
enum class MessageModel : std::uint8_t { broadcasting, clustering };
enum class ConsumeFromWhere : std::uint8_t {
    last_offset,
    last_offset_and_min_at_first,
    min_offset,
    max_offset,
    first_offset,
    timestamp
};

/// One consumer group in a heartbeat.
struct ConsumerData {
    std::string group;
    ConsumeType consume_type = ConsumeType::passively;
    MessageModel message_model = MessageModel::clustering;
    ConsumeFromWhere from = ConsumeFromWhere::last_offset;
    std::vector<SubscriptionData> subscriptions = {};
    friend bool operator==(const ConsumerData&, const ConsumerData&) = default;
};

/// Body of 34.
struct Heartbeat {
    std::string client_id;
    std::vector<std::string> producer_groups;
    std::vector<ConsumerData> consumers;
    std::int32_t fingerprint = 0;        ///< of the subscriptions; 0: a heartbeat of the first version
    bool without_subscriptions = false;  ///< they are those of the last heartbeat with this fingerprint
    friend bool operator==(const Heartbeat&, const Heartbeat&) = default;

    [[nodiscard]] static Result<Heartbeat> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Body of the answer to 38.
struct ConsumerList {
    std::vector<std::string> client_ids;

    [[nodiscard]] static Result<ConsumerList> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Names one queue.
struct MessageQueue {
    std::string topic;
    std::string broker_name;
    std::int32_t queue_id = 0;
    /// By topic, broker, queue: the order every member sorts by before it takes its share.
    friend auto operator<=>(const MessageQueue&, const MessageQueue&) = default;
};

/// Body of 41 and 42.
struct LockRequest {
    std::string consumer_group;
    std::string client_id;
    std::vector<MessageQueue> queues;

    [[nodiscard]] static Result<LockRequest> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Body of the answer to 41.
struct LockResponse {
    std::vector<MessageQueue> locked;

    [[nodiscard]] static Result<LockResponse> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

}  // namespace hufu::remoting
