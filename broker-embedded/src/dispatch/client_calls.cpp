#include "client_calls.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace hufu::broker {

bool ClientCalls::add(ConnectionId connection, std::int32_t opaque, SteadyTime deadline, Then then) {
    if (calls_.size() >= calls_max) return false;
    if (!calls_.try_emplace(opaque, Call{connection, deadline, std::move(then)}).second) return false;
    next_deadline_ = std::min(next_deadline_, deadline);
    return true;
}

void ClientCalls::answered(DispatchState& state, ConnectionId connection, const remoting::CommandView& answer) {
    const auto call = calls_.find(answer.opaque);
    if (call == calls_.end() || call->second.connection != connection) return;
    // Out of the table first: the continuation may make calls of its own.
    const Then then = std::move(call->second.then);
    calls_.erase(call);
    then(state, Ended{End::answered, &answer});
}

template <class Which>
void ClientCalls::end_all(DispatchState& state, End end, Which which) {
    std::vector<Then> ended;
    next_deadline_ = SteadyTime::max();
    std::erase_if(calls_, [&](auto& entry) {
        if (which(entry.second)) {
            ended.push_back(std::move(entry.second.then));
            return true;
        }
        next_deadline_ = std::min(next_deadline_, entry.second.deadline);
        return false;
    });
    for (const Then& then : ended) then(state, Ended{end, nullptr});
}

void ClientCalls::expire(DispatchState& state, SteadyTime now) {
    end_all(state, End::timed_out, [now](const Call& call) { return call.deadline <= now; });
}

void ClientCalls::disconnected(DispatchState& state, ConnectionId connection) {
    if (calls_.empty()) return;
    end_all(state, End::disconnected, [connection](const Call& call) { return call.connection == connection; });
}

}  // namespace hufu::broker
