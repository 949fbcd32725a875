// From our options to librdkafka's properties.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <hufu/kafka/client.hpp>

#include "handles.hpp"

namespace hufu::kafka {

using Properties = std::vector<std::pair<std::string, std::string>>;

/// Checked: servers have host and port, numbers fit each other, no property that is ours to set.
[[nodiscard]] Result<void> check(const ClientOptions& client);
[[nodiscard]] Result<void> check(const PublisherOptions& options);
[[nodiscard]] Result<void> check(const SubscriptionOptions& subscription, const SubscriberOptions& options);

[[nodiscard]] Properties producer_properties(const ClientOptions& client, const PublisherOptions& options);
[[nodiscard]] Properties consumer_properties(const ClientOptions& client, const SubscriptionOptions& subscription,
                                             const SubscriberOptions& options);

/// librdkafka's own words when it refuses one. Its log lines go to `log`, and `opaque` to its callbacks.
struct Opaque {
    Log& client_log;
};
[[nodiscard]] Result<Handle<rd_kafka_conf_t>> configuration(const Properties& properties, Opaque& opaque);

/// A client, which takes `configuration` over.
[[nodiscard]] Result<Handle<rd_kafka_t>> start(rd_kafka_type_t kind, Handle<rd_kafka_conf_t> configuration);

}  // namespace hufu::kafka
