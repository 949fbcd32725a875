#include "group_table.hpp"

#include <algorithm>

namespace hufu::broker {
std::vector<std::string> GroupTable::beat(ConnectionId connection, const Beat& beat, SteadyTime now) {
    std::vector<std::string> changed;
    for (const ConsumerBeat& consumer : beat.consumers) {
        Group& group = groups_[consumer.group];
        bool different = false;
        group.broadcasting = consumer.broadcasting;
        const auto member = std::find_if(group.members.begin(), group.members.end(),
                                         [&](const Member& candidate) { return candidate.client_id == beat.client_id; });
        if (member == group.members.end()) {
            group.members.push_back(Member{connection, beat.client_id, now});
            ++member_count_;
            different = true;
        } else {
            // The same client over a new channel: the old channel's close must not remove it.
            member->connection = connection;
            member->last_beat = now;
        }
        for (const TopicSubscription& wanted : consumer.subscriptions) {
            const auto known = group.subscriptions.find(wanted.topic);
            if (known == group.subscriptions.end()) {
                group.subscriptions.emplace(wanted.topic, wanted);
                different = true;
            } else if (wanted.version > known->second.version) {
                different = different || wanted.expression != known->second.expression ||
                            wanted.expression_type != known->second.expression_type;
                const bool replaces = known->second.replaces_filter || known->second.filter.fault.empty();
                known->second = wanted;
                known->second.replaces_filter = replaces;
            }
        }
        different = std::erase_if(group.subscriptions,
                                  [&](const auto& entry) {
                                      return std::none_of(
                                          consumer.subscriptions.begin(), consumer.subscriptions.end(),
                                          [&](const TopicSubscription& wanted) { return wanted.topic == entry.first; });
                                  }) > 0 ||
                    different;
        if (different) changed.push_back(consumer.group);
    }
    return changed;
}

template <class Gone>
std::vector<std::string> GroupTable::remove_members(Gone gone) {
    std::vector<std::string> changed;
    for (auto group = groups_.begin(); group != groups_.end();) {
        const std::size_t removed = std::erase_if(group->second.members, gone);
        member_count_ -= removed;
        if (removed > 0) changed.push_back(group->first);
        group = group->second.members.empty() ? groups_.erase(group) : std::next(group);
    }
    return changed;
}

bool GroupTable::leave(ConnectionId connection, std::string_view client_id, std::string_view name) {
    const auto group = groups_.find(name);
    if (group == groups_.end()) return false;
    const std::size_t removed = std::erase_if(group->second.members, [&](const Member& member) {
        return member.connection == connection && member.client_id == client_id;
    });
    member_count_ -= removed;
    if (group->second.members.empty()) groups_.erase(group);
    return removed > 0;
}

std::vector<std::string> GroupTable::forget(ConnectionId connection) {
    return remove_members([&](const Member& member) { return member.connection == connection; });
}

std::vector<std::string> GroupTable::expire(SteadyTime now, std::chrono::seconds silence) {
    return remove_members([&](const Member& member) { return now - member.last_beat > silence; });
}

const GroupTable::Group* GroupTable::find(std::string_view name) const {
    const auto group = groups_.find(name);
    return group == groups_.end() ? nullptr : &group->second;
}

}  // namespace hufu::broker
