#include "group_table.hpp"

#include <algorithm>
#include <iterator>

namespace hufu::broker {
namespace {

template <class Members>
auto find_member(Members& members, ConnectionId connection, std::string_view client_id) {
    return std::find_if(members.begin(), members.end(), [&](const GroupTable::Member& candidate) {
        return candidate.connection == connection && candidate.client_id == client_id;
    });
}

bool has_connection(const std::vector<GroupTable::Member>& members, ConnectionId connection) {
    return std::any_of(members.begin(), members.end(),
                       [&](const GroupTable::Member& member) { return member.connection == connection; });
}

/// Removes the members for which `gone` holds; returns them.
template <class Gone>
std::vector<GroupTable::Member> take_out(std::vector<GroupTable::Member>& members, Gone gone) {
    const auto first = std::stable_partition(members.begin(), members.end(),
                                             [&](const GroupTable::Member& member) { return !gone(member); });
    std::vector<GroupTable::Member> taken{std::make_move_iterator(first), std::make_move_iterator(members.end())};
    members.erase(first, members.end());
    return taken;
}

/// The newest version of each subscription counts; what the list lacks is no longer wanted. True when topics or
/// expressions changed.
bool take_subscriptions(GroupTable::Group& group, const std::vector<TopicSubscription>& wanted) {
    bool changed = false;
    std::set<std::string_view> topics;
    for (const TopicSubscription& subscription : wanted) {
        topics.insert(subscription.topic);
        const auto [known, fresh] = group.subscriptions.try_emplace(subscription.topic, subscription);
        if (fresh) {
            changed = true;
        } else if (subscription.version > known->second.version) {
            changed = changed || subscription.expression != known->second.expression ||
                      subscription.expression_type != known->second.expression_type;
            const bool replaces = known->second.replaces_filter || known->second.filter.fault.empty();
            known->second = subscription;
            known->second.replaces_filter = replaces;
        }
    }
    return std::erase_if(group.subscriptions, [&](const auto& entry) { return !topics.contains(entry.first); }) > 0 ||
           changed;
}

template <class Map>
std::vector<std::string> names_of(const Map& map) {
    std::vector<std::string> names;
    for (const auto& [name, members] : map) names.push_back(name);
    return names;
}

}  // namespace

std::vector<std::string> GroupTable::Group::client_ids() const {
    std::vector<std::string> ids;
    ids.reserve(members.size());
    for (const Member& member : members) ids.push_back(member.client_id);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
}

const GroupTable::Member* GroupTable::Group::find(std::string_view client_id) const {
    const auto member = std::find_if(members.begin(), members.end(),
                                     [&](const Member& candidate) { return candidate.client_id == client_id; });
    return member == members.end() ? nullptr : &*member;
}

GroupTable::Beaten GroupTable::beat(ConnectionId connection, const Beat& beat, SteadyTime now, std::size_t members_max) {
    Beaten result;
    for (const ConsumerBeat& consumer : beat.consumers) beat_consumer(connection, beat, consumer, now, members_max, result);
    for (const std::string& group : beat.producer_groups) beat_producer(connection, beat, group, now, members_max, result);
    return result;
}

GroupTable::Member* GroupTable::join(std::vector<Member>& members, ConnectionId connection, const Beat& beat,
                                     std::size_t members_max) {
    if (const auto known = find_member(members, connection, beat.client_id); known != members.end()) return &*known;
    if (member_count_ >= members_max) return nullptr;
    ++member_count_;
    return &members.emplace_back(Member{connection, beat.client_id, beat.language, beat.version, 0, {}});
}

void GroupTable::beat_consumer(ConnectionId connection, const Beat& beat, const ConsumerBeat& consumer, SteadyTime now,
                               std::size_t members_max, Beaten& result) {
    Group& group = groups_[consumer.group];
    const std::size_t before = group.members.size();
    Member* member = join(group.members, connection, beat, members_max);
    if (member == nullptr) {
        result.full = true;
        if (group.members.empty()) groups_.erase(consumer.group);
        return;
    }
    bool changed = group.members.size() != before;
    if (changed) belongings_[connection].consumer_groups.insert(consumer.group);
    group.consume_type = consumer.consume_type;
    group.message_model = consumer.message_model;
    group.from = consumer.from;
    member->last_beat = now;
    if (beat.without_subscriptions) {
        // The member counts all the same, but when its subscriptions are not known the next beat must bring them.
        const bool known = beat.fingerprint != 0 && member->fingerprint == beat.fingerprint;
        result.subscriptions_wanted = result.subscriptions_wanted || !known;
    } else {
        member->fingerprint = beat.fingerprint;
        changed = take_subscriptions(group, consumer.subscriptions) || changed;
    }
    if (changed) result.changed.push_back(consumer.group);
}

void GroupTable::beat_producer(ConnectionId connection, const Beat& beat, const std::string& name, SteadyTime now,
                               std::size_t members_max, Beaten& result) {
    Producers& producers = producers_[name];
    Member* producer = join(producers, connection, beat, members_max);
    if (producer == nullptr) {
        result.full = true;
        if (producers.empty()) producers_.erase(name);
        return;
    }
    producer->last_beat = now;
    belongings_[connection].producer_groups.insert(name);
    producer_connections_[beat.client_id] = connection;
}

template <class Gone>
bool GroupTable::remove_consumers(const std::string& name, Gone gone) {
    const auto group = groups_.find(name);
    if (group == groups_.end()) return false;
    const auto lost = take_out(group->second.members, gone);
    member_count_ -= lost.size();
    for (const Member& member : lost)
        if (!has_connection(group->second.members, member.connection)) disown(member.connection, name, {});
    if (group->second.members.empty()) groups_.erase(group);
    return !lost.empty();
}

template <class Gone>
void GroupTable::remove_producers(const std::string& name, Gone gone) {
    const auto group = producers_.find(name);
    if (group == producers_.end()) return;
    const auto lost = take_out(group->second, gone);
    member_count_ -= lost.size();
    for (const Member& producer : lost) {
        if (!has_connection(group->second, producer.connection)) disown(producer.connection, {}, name);
        forget_producer(producer);
    }
    if (group->second.empty()) producers_.erase(group);
}

void GroupTable::disown(ConnectionId connection, std::string_view consumer_group, std::string_view producer_group) {
    const auto owner = belongings_.find(connection);
    if (owner == belongings_.end()) return;
    Belongings& owned = owner->second;
    if (const auto name = owned.consumer_groups.find(consumer_group); name != owned.consumer_groups.end())
        owned.consumer_groups.erase(name);
    if (const auto name = owned.producer_groups.find(producer_group); name != owned.producer_groups.end())
        owned.producer_groups.erase(name);
    if (owned.consumer_groups.empty() && owned.producer_groups.empty()) belongings_.erase(owner);
}

void GroupTable::forget_producer(const Member& lost) {
    const auto known = producer_connections_.find(lost.client_id);
    if (known == producer_connections_.end() || known->second != lost.connection) return;
    // It may still be a producer of other groups.
    if (const auto owner = belongings_.find(lost.connection); owner != belongings_.end()) {
        for (const std::string& name : owner->second.producer_groups) {
            const Producers& producers = producers_.find(name)->second;
            if (find_member(producers, lost.connection, lost.client_id) != producers.end()) return;
        }
    }
    producer_connections_.erase(known);
}

bool GroupTable::leave(ConnectionId connection, std::string_view client_id, std::string_view name) {
    return remove_consumers(std::string{name}, [&](const Member& member) {
        return member.connection == connection && member.client_id == client_id;
    });
}

void GroupTable::leave_producers(ConnectionId connection, std::string_view client_id, std::string_view name) {
    remove_producers(std::string{name}, [&](const Member& producer) {
        return producer.connection == connection && producer.client_id == client_id;
    });
}

std::vector<std::string> GroupTable::forget(ConnectionId connection) {
    std::vector<std::string> changed;
    const auto belongings = belongings_.extract(connection);
    if (belongings.empty()) return changed;
    const auto gone = [&](const Member& member) { return member.connection == connection; };
    for (const std::string& group : belongings.mapped().consumer_groups)
        if (remove_consumers(group, gone)) changed.push_back(group);
    for (const std::string& group : belongings.mapped().producer_groups) remove_producers(group, gone);
    return changed;
}

std::vector<std::string> GroupTable::expire(SteadyTime now, std::chrono::seconds silence) {
    const auto gone = [&](const Member& member) { return now - member.last_beat > silence; };
    std::vector<std::string> changed;
    for (const std::string& group : names_of(groups_))
        if (remove_consumers(group, gone)) changed.push_back(group);
    for (const std::string& group : names_of(producers_)) remove_producers(group, gone);
    return changed;
}

const GroupTable::Group* GroupTable::find(std::string_view name) const {
    const auto group = groups_.find(name);
    return group == groups_.end() ? nullptr : &group->second;
}

const GroupTable::Producers* GroupTable::find_producers(std::string_view name) const {
    const auto group = producers_.find(name);
    return group == producers_.end() ? nullptr : &group->second;
}

std::optional<ConnectionId> GroupTable::find_producer(std::string_view client_id) const {
    const auto connection = producer_connections_.find(client_id);
    if (connection == producer_connections_.end()) return std::nullopt;
    return connection->second;
}

}  // namespace hufu::broker
