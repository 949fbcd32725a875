#include "queue_locks.hpp"

#include <algorithm>

namespace hufu::broker {

bool QueueLocks::lock(std::string_view group, const Queue& queue, std::string_view client_id, ConnectionId connection,
                      SteadyTime now) {
    auto of_group = locks_.find(group);
    const bool known = of_group != locks_.end() && of_group->second.contains(queue);
    if (!known && size_ >= locks_max) return false;
    if (of_group == locks_.end()) of_group = locks_.emplace(std::string{group}, std::map<Queue, Holder>{}).first;
    Holder& holder = of_group->second[queue];
    if (known && holder.client_id != client_id && now - holder.refreshed <= life) return false;
    if (!known) ++size_;
    holder = Holder{std::string{client_id}, connection, now};
    return true;
}

void QueueLocks::unlock(std::string_view group, const Queue& queue, std::string_view client_id) {
    const auto of_group = locks_.find(group);
    if (of_group == locks_.end()) return;
    const auto entry = of_group->second.find(queue);
    if (entry == of_group->second.end() || entry->second.client_id != client_id) return;
    of_group->second.erase(entry);
    --size_;
    if (of_group->second.empty()) locks_.erase(of_group);
}

void QueueLocks::forget(ConnectionId connection) {
    for (auto of_group = locks_.begin(); of_group != locks_.end();) {
        size_ -= std::erase_if(of_group->second, [&](const auto& entry) { return entry.second.connection == connection; });
        of_group = of_group->second.empty() ? locks_.erase(of_group) : std::next(of_group);
    }
}

bool QueueLocks::any_held(std::string_view group, SteadyTime now) const {
    const auto of_group = locks_.find(group);
    return of_group != locks_.end() && std::any_of(of_group->second.begin(), of_group->second.end(),
                                                   [&](const auto& entry) { return now - entry.second.refreshed <= life; });
}

}  // namespace hufu::broker
