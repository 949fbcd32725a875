// Hufu's Publisher and Subscription over Apache Kafka (2.1 and later), by librdkafka.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::kafka {

/// How to reach a cluster.
struct ClientOptions {
    /// Bootstrap servers, "host:port". The others are learned from them.
    std::vector<std::string> servers;
    std::string client_id = "hufu";
    /// librdkafka's own properties by their own names: compression.type, security.protocol, sasl.username … Those that the
    /// promises of this adapter stand on (acks, enable.idempotence, enable.auto.commit, group.id …) are refused.
    std::vector<std::pair<std::string, std::string>> properties = {};
};

struct PublisherOptions {
    /// Messages accepted and not yet final. What does not fit ends `not_sent` (`busy`).
    std::size_t queue_messages_max = 100'000;
    std::size_t queue_bytes_max = std::size_t{64} << 20;
    /// Body, key and headers together. Larger ones are rejected; a topic's own max.message.bytes may be lower.
    std::size_t record_bytes_max = 1'000'000;
    /// Records of a partition that are ready at the same time share batches of at most so many bytes; a larger record
    /// travels alone. Should not be above max.message.bytes of any topic: a batch is refused as a whole.
    std::size_t batch_bytes_max = 64 * 1'024;
    /// How long a record waits for others to share its batch.
    std::chrono::milliseconds linger{0};
    /// Without the broker's confirmation for so long a message is given up: `in_doubt` when it may have been written.
    /// Until then librdkafka repeats it; the producer is idempotent, so that this makes no copies.
    std::chrono::milliseconds send_timeout{10'000};
};

/// Starts an idempotent producer (acks=all) with one thread of its own; it connects in the background. Borrows `clock`,
/// `random` (must be safe from any thread) and `log` for its life. `invalid_argument` names an option that cannot be.
///
/// Order and delivery: hufu::Publisher's contract, with these details. One message per (topic, ordering key) is under way
/// at a time; different keys, and messages without one, share batches. The partition is that of Kafka's Java producer:
/// murmur2 of the ordering key, which is the record's key. A message with `deliver_at` more than a minute ahead is
/// rejected: an outbox keeps it until it is due. A nil id is minted. `broker_id` is "partition@offset".
/// What becomes which header: docs/kafka.md.
[[nodiscard]] Result<std::unique_ptr<hufu::Publisher>> open_publisher(ClientOptions client, PublisherOptions options = {},
                                                                      Clock& clock = system_clock(),
                                                                      Random& random = system_random(), Log& log = no_log());

struct SubscriberOptions {
    /// A member that the group has not heard of for so long is dead, and its partitions go to others.
    std::chrono::milliseconds session_timeout{10'000};
    std::chrono::milliseconds heartbeat_every{3'000};
    /// How soon new topics and partitions are seen.
    std::chrono::milliseconds topics_every{5'000};
    /// How often the positions are committed. What was acknowledged since comes again after a crash.
    std::chrono::milliseconds offsets_every{1'000};
    /// Longest wait for the broker when positions are committed because partitions move or the subscription ends.
    std::chrono::milliseconds close_timeout{5'000};
    /// Per partition, received and not yet acknowledged: above either, fetching pauses.
    std::size_t cached_messages_max = 4'000;
    std::size_t cached_bytes_max = std::size_t{32} << 20;
};

/// Joins a consumer group with one thread of its own (cooperative-sticky assignment, read_committed, commits by hand).
/// Borrows `clock` and `log` for its life.
///
/// A partition's position is the offset after the longest run of acknowledged deliveries. One that is taken away and comes
/// back begins a new session at the committed position. With `From::last`, the position of a partition without one is
/// fixed by a commit as soon as it is assigned, so that what comes later is not skipped by a crash. Topics that do not
/// exist yet are waited for. Records that no Hufu wrote get an id made from topic, partition, offset and timestamp.
/// `broker_attempts` is always 0: Kafka does not count.
[[nodiscard]] Result<std::unique_ptr<hufu::Subscription>> open_subscription(ClientOptions client,
                                                                            SubscriptionOptions subscription,
                                                                            SubscriberOptions options = {},
                                                                            Clock& clock = system_clock(),
                                                                            Log& log = no_log());

}  // namespace hufu::kafka
