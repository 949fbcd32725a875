// The way in: receiving messages from a broker.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>

namespace hufu {

/// Names one delivery to the subscription that made it. Opaque to others.
struct DeliveryTag {
    std::uint64_t queue = 0;     ///< which of the subscription's queues
    std::uint64_t position = 0;  ///< position in it, ascending
    std::uint64_t session = 0;   ///< changes when the queue was lost and assigned again; old tags are then ignored
    friend auto operator<=>(const DeliveryTag&, const DeliveryTag&) = default;
};

/// A received message and what the broker knows of it.
struct Delivery {
    Message message = {};
    DeliveryTag tag = {};
    SystemTime stored_at = {};          ///< when the broker stored this copy
    std::uint32_t broker_attempts = 0;  ///< earlier deliveries the broker counted (0 where it does not count)
};

/// The earliest time at which the message is known to have been stored anywhere: by the broker (this copy), by a broker or
/// buffer before it (`hufu-first-stored-at-us`), in an outbox (`hufu-committed-at-us`). The epoch when nothing is known.
[[nodiscard]] SystemTime first_stored_at(const Delivery& delivery);
/// Sets the header `hufu-first-stored-at-us` of a copy that is about to be stored anew, unless it says an earlier time already.
/// `stored_at`: when the copy at hand was stored; the epoch: not known.
void keep_first_stored_at(Message& message, SystemTime stored_at);

/// What a user wants to receive.
struct SubscriptionOptions {
    std::string group = {};
    std::vector<std::string> topics = {};
    /// Where a group without a stored position begins.
    enum class From : std::uint8_t { first, last } from = From::first;
};

/// A member of a consumer group. `receive` is for one thread; `acknowledge` is safe from any thread.
///
/// It stays a member by itself, however long its user takes between two calls: a delivery is ours until it is acknowledged or
/// its queue is lost.
///
/// Delivery: at least once. The group's position moves over the longest run of acknowledged deliveries per queue, so
/// what is not acknowledged comes again after a crash, a rebalance or a restart, in the queue's order.
class Subscription {
public:
    virtual ~Subscription() = default;  ///< Stores positions, leaves the group.

    /// Up to `max` deliveries; waits until there is at least one, `timeout` passed (empty result) or `stop` was asked
    /// for (empty result). A lost broker is waited for and reconnected to inside; errors are `fatal` or `reject` kinds.
    virtual Result<std::vector<Delivery>> receive(std::size_t max, std::chrono::milliseconds timeout,
                                                  std::stop_token stop) = 0;

    /// These were dealt with. Tags of a lost queue are ignored.
    virtual void acknowledge(std::span<const DeliveryTag> tags) = 0;

    /// Queue numbers that were taken away by a rebalance since the last call; what was received of them and not yet
    /// handled should not be started any more (another member has it).
    virtual std::vector<std::uint64_t> lost_queues() = 0;
};

}  // namespace hufu
