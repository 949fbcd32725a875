// Who belongs to which group, learnt from heartbeats and forgotten with the channel or after 120 s of silence.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/connection_id.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/remoting/bodies.hpp>

#include "message_filter.hpp"

namespace hufu::broker {

/// What a group wants of a topic.
struct TopicSubscription {
    std::string topic;
    std::string expression;  ///< "*", "a || b", or SQL92
    std::int64_t version = 0;
    std::string expression_type = "TAG";
    CompiledFilter filter = {};
    bool replaces_filter = false;  ///< an older version had a filter that worked
};

/// One consumer group's part of a heartbeat.
struct ConsumerBeat {
    std::string group;
    remoting::ConsumeType consume_type = remoting::ConsumeType::passively;
    remoting::MessageModel message_model = remoting::MessageModel::clustering;
    remoting::ConsumeFromWhere from = remoting::ConsumeFromWhere::last_offset;
    std::vector<TopicSubscription> subscriptions = {};
};

/// A whole heartbeat.
struct Beat {
    std::string client_id;
    std::uint8_t language = 0;
    std::int32_t version = 0;
    std::int32_t fingerprint = 0;        ///< of the subscriptions; 0: a heartbeat of the first version
    bool without_subscriptions = false;  ///< they are those of the last heartbeat with this fingerprint
    std::vector<std::string> producer_groups = {};
    std::vector<ConsumerBeat> consumers = {};
};

/// Consumer and producer groups of one broker. Not thread-safe; time comes in with the calls.
///
/// A client is told apart by its channel: two processes may have the same client id (broadcasting consumers of one host
/// do), and a client that connects anew is a second member until its old channel closes.
class GroupTable {
public:
    /// A client in one group.
    struct Member {
        ConnectionId connection;
        std::string client_id;
        std::uint8_t language = 0;
        std::int32_t version = 0;
        std::int32_t fingerprint = 0;
        SteadyTime last_beat{};
    };
    struct Group {
        remoting::ConsumeType consume_type = remoting::ConsumeType::passively;
        remoting::MessageModel message_model = remoting::MessageModel::clustering;
        remoting::ConsumeFromWhere from = remoting::ConsumeFromWhere::last_offset;
        std::vector<Member> members;
        std::map<std::string, TopicSubscription, std::less<>> subscriptions;  // by topic

        [[nodiscard]] bool broadcasting() const noexcept { return message_model == remoting::MessageModel::broadcasting; }
        /// Every client id once, in the order in which members sort them before they share the queues out.
        [[nodiscard]] std::vector<std::string> client_ids() const;
        /// Null when no such client is a member.
        [[nodiscard]] const Member* find(std::string_view client_id) const;
    };
    using Producers = std::vector<Member>;

    struct Beaten {
        std::vector<std::string> changed;   ///< consumer groups whose members or subscriptions changed
        bool subscriptions_wanted = false;  ///< the beat came without them, and they are not known
        bool full = false;                  ///< some groups were not joined: there are `members_max` members
    };
    /// Takes in a heartbeat. Members that are known already are refreshed even when the table is full.
    Beaten beat(ConnectionId connection, const Beat& beat, SteadyTime now, std::size_t members_max);
    /// The client says goodbye to one consumer group. True when it was a member.
    bool leave(ConnectionId connection, std::string_view client_id, std::string_view group);
    void leave_producers(ConnectionId connection, std::string_view client_id, std::string_view group);
    /// The channel closed: returns the consumer groups that lost a member.
    std::vector<std::string> forget(ConnectionId connection);
    /// Drops members that were silent for `silence`; returns the consumer groups that lost one.
    std::vector<std::string> expire(SteadyTime now, std::chrono::seconds silence);

    /// Null when the group has no member.
    [[nodiscard]] const Group* find(std::string_view group) const;
    /// Null when the group has no producer.
    [[nodiscard]] const Producers* find_producers(std::string_view group) const;
    /// The channel over which this client sends, if it is a producer of any group.
    [[nodiscard]] std::optional<ConnectionId> find_producer(std::string_view client_id) const;
    [[nodiscard]] const std::map<std::string, Group, std::less<>>& groups() const noexcept { return groups_; }
    [[nodiscard]] const std::map<std::string, Producers, std::less<>>& producers() const noexcept { return producers_; }
    /// Consumers and producers, each as often as it is in a group.
    [[nodiscard]] std::size_t member_count() const noexcept { return member_count_; }

private:
    struct Belongings {
        std::set<std::string, std::less<>> consumer_groups;
        std::set<std::string, std::less<>> producer_groups;
    };

    /// The client's entry among `members`, new when need be; null when the table is full.
    Member* join(std::vector<Member>& members, ConnectionId connection, const Beat& beat, std::size_t members_max);
    void beat_consumer(ConnectionId connection, const Beat& beat, const ConsumerBeat& consumer, SteadyTime now,
                       std::size_t members_max, Beaten& result);
    void beat_producer(ConnectionId connection, const Beat& beat, const std::string& group, SteadyTime now,
                       std::size_t members_max, Beaten& result);
    template <class Gone>
    bool remove_consumers(const std::string& group, Gone gone);
    template <class Gone>
    void remove_producers(const std::string& group, Gone gone);
    void disown(ConnectionId connection, std::string_view consumer_group, std::string_view producer_group);
    void forget_producer(const Member& lost);

    std::map<std::string, Group, std::less<>> groups_;
    std::map<std::string, Producers, std::less<>> producers_;
    std::map<ConnectionId, Belongings> belongings_;                          // so that a close looks at its own groups only
    std::map<std::string, ConnectionId, std::less<>> producer_connections_;  // by client id
    std::size_t member_count_ = 0;
};

}  // namespace hufu::broker
