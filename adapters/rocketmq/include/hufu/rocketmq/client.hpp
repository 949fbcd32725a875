// Hufu's Publisher and Subscription over RocketMQ's remoting protocol: the bundled broker, and RocketMQ 4.9 and 5.x.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::rocketmq {

/// How to reach a cluster.
struct ClientOptions {
    /// Name servers: "host:port" or "unix:/path". Asked in turn until one answers. Behind a Unix socket, broker and name
    /// service are one process, so the addresses in its routes are ignored and everything goes over that socket.
    std::vector<std::string> name_servers;
    /// Signs every request (RocketMQ's ACL). Empty: requests are not signed. A broker that knows better answers 16, which
    /// is a `permission` error here.
    std::string access_key = {};
    std::string secret_key = {};
    /// Unique among the members of a consumer group. Empty: made from the process id and chance.
    std::string client_id = {};
    std::chrono::milliseconds connect_timeout{3'000};
    /// For everything but sends and waiting pulls.
    std::chrono::milliseconds request_timeout{5'000};
    /// Waits between attempts to connect.
    RetrySchedule reconnect =
        RetrySchedule::capped(std::chrono::milliseconds{50}, std::chrono::milliseconds{5'000}).jitter(0.5);
    /// The short binary header in requests (every RocketMQ broker reads it); off: JSON.
    bool binary_headers = true;
};

struct PublisherOptions {
    std::string group = "hufu-publisher";
    /// A batch is one request, stored as a whole or not at all. 1 sends every message in a request of its own.
    std::size_t batch_messages_max = 1'024;
    std::size_t batch_bytes_max = 1'000'000;
    /// Requests in flight per queue. More than 1 is used only for messages without an ordering key.
    std::uint32_t in_flight_per_queue = 1;
    std::size_t body_bytes_max = 4 * 1'024 * 1'024;
    /// Without an answer for so long a sent message is in doubt.
    std::chrono::milliseconds send_timeout{10'000};
    /// A message that could not be sent for so long (no broker, no route) ends `not_sent`.
    std::chrono::milliseconds queue_timeout{10'000};
};

/// Starts a publisher with one thread of its own; it connects when the first message comes. `clock`, `random` (must be
/// safe from any thread) and `log` are borrowed for its life. `invalid_argument` names an option that cannot be.
///
/// Order and delivery: hufu::Publisher's contract, with these details. Messages with an ordering key go to queue
/// abs(java_hash(key) % queues), the choice of Java's SelectMessageQueueByHash; others go round robin. When the number of
/// a topic's queues changes, what is in flight is finished first. A message with `deliver_at` more than a minute ahead
/// is rejected: an outbox keeps it until it is due. A nil id is minted. `broker_id` is the offset message id, or
/// "queue@offset" of a message that travelled in a batch.
[[nodiscard]] Result<std::unique_ptr<hufu::Publisher>> open_publisher(ClientOptions client, PublisherOptions options = {},
                                                                      Clock& clock = system_clock(),
                                                                      Random& random = system_random(), Log& log = no_log());

struct SubscriberOptions {
    std::chrono::milliseconds heartbeat_every{30'000};
    std::chrono::milliseconds rebalance_every{20'000};
    std::chrono::milliseconds route_every{30'000};
    /// How often the positions are stored. What was acknowledged since comes again after a crash.
    std::chrono::milliseconds offsets_every{1'000};
    /// How long the broker may hold a pull back while there is nothing.
    std::chrono::milliseconds pull_wait{15'000};
    std::int32_t pull_messages_max = 256;
    /// Per queue, received and not yet acknowledged: above either, pulling pauses.
    std::size_t cached_messages_max = 4'000;
    std::size_t cached_bytes_max = 32 * 1'024 * 1'024;
};

/// Joins a consumer group with one thread of its own. Borrows `clock`, `random` and `log` for its life.
///
/// Queues are shared among the members by RocketMQ's AVG rule. A queue that is taken away and comes back begins a new
/// session at the stored position. After a broken connection the member keeps its queues if nobody moved their positions
/// meanwhile. The destructor waits for the broker to store the positions, up to `request_timeout`.
[[nodiscard]] Result<std::unique_ptr<hufu::Subscription>> open_subscription(
    ClientOptions client, SubscriptionOptions subscription, SubscriberOptions options = {}, Clock& clock = system_clock(),
    Random& random = system_random(), Log& log = no_log());

}  // namespace hufu::rocketmq
