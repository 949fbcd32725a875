// Which member of a group may consume a queue in order.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <hufu/broker/connection_id.hpp>
#include <hufu/core/clock.hpp>

namespace hufu::broker {

/// Queue locks of orderly consumers: granted when free, already ours, or not refreshed for 60 s. Freed when the owner's
/// channel closes, so that another member takes the queue over at once. Not thread-safe.
class QueueLocks {
public:
    static constexpr std::chrono::seconds life{60};
    static constexpr std::size_t locks_max = 500'000;

    struct Queue {
        std::string topic;
        std::int32_t queue_id = 0;
        friend auto operator<=>(const Queue&, const Queue&) = default;
    };

    /// True when `client_id` holds the lock now. False as well when it would be one lock too many.
    bool lock(std::string_view group, const Queue& queue, std::string_view client_id, ConnectionId connection,
              SteadyTime now);
    /// Only the owner's request counts.
    void unlock(std::string_view group, const Queue& queue, std::string_view client_id);
    /// Frees what was locked over this channel.
    void forget(ConnectionId connection);
    /// True when a member of the group holds a lock: the group consumes in order.
    [[nodiscard]] bool any_held(std::string_view group, SteadyTime now) const;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    struct Holder {
        std::string client_id;
        ConnectionId connection;
        SteadyTime refreshed;
    };
    std::map<std::string, std::map<Queue, Holder>, std::less<>> locks_;  // by group
    std::size_t size_ = 0;
};

}  // namespace hufu::broker
