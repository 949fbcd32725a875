// Who belongs to which group, learnt from heartbeats and forgotten with the channel or after 120 s of silence.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/connection_id.hpp>
#include <hufu/core/clock.hpp>

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
    bool broadcasting = false;
    std::vector<TopicSubscription> subscriptions;
};

/// A whole heartbeat.
struct Beat {
    std::string client_id;
    std::vector<std::string> producer_groups;
    std::vector<ConsumerBeat> consumers;
};

/// Consumer and producer groups of one broker. Not thread-safe; time comes in with the calls.
class GroupTable {
public:
    struct Member {
        ConnectionId connection;
        std::string client_id;
        SteadyTime last_beat;
    };
    struct Group {
        bool broadcasting = false;
        std::vector<Member> members;
        std::map<std::string, TopicSubscription, std::less<>> subscriptions;  // by topic
    };

    /// Takes in a heartbeat. Returns the consumer groups whose membership or subscriptions changed.
    std::vector<std::string> beat(ConnectionId connection, const Beat& beat, SteadyTime now);
    /// The client says goodbye to one consumer group. True when it was a member.
    bool leave(ConnectionId connection, std::string_view client_id, std::string_view group);
    /// The channel closed: returns the consumer groups that lost a member.
    std::vector<std::string> forget(ConnectionId connection);
    /// Drops members that were silent for `silence`; returns the consumer groups that lost one.
    std::vector<std::string> expire(SteadyTime now, std::chrono::seconds silence);

    /// Null when the group has no member.
    [[nodiscard]] const Group* find(std::string_view group) const;
    [[nodiscard]] std::size_t member_count() const noexcept { return member_count_; }

private:
    std::map<std::string, Group, std::less<>> groups_;
    std::size_t member_count_ = 0;

    template <class Gone>
    std::vector<std::string> remove_members(Gone gone);
};

}  // namespace hufu::broker
