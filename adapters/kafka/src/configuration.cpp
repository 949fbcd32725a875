#include "configuration.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include <hufu/core/message.hpp>

#include "record_codec.hpp"

namespace hufu::kafka {
namespace {

// The promises stand on these (also under librdkafka's other names for them).
constexpr std::array<std::string_view, 34> ours{"acks",
                                                "allow.auto.create.topics",
                                                "auto.commit.enable",
                                                "auto.commit.interval.ms",
                                                "auto.offset.reset",
                                                "batch.size",
                                                "bootstrap.servers",
                                                "client.id",
                                                "delivery.timeout.ms",
                                                "enable.auto.commit",
                                                "enable.auto.offset.store",
                                                "enable.gapless.guarantee",
                                                "enable.idempotence",
                                                "enable.partition.eof",
                                                "group.id",
                                                "group.instance.id",
                                                "heartbeat.interval.ms",
                                                "isolation.level",
                                                "linger.ms",
                                                "max.in.flight",
                                                "max.in.flight.requests.per.connection",
                                                "message.max.bytes",
                                                "message.send.max.retries",
                                                "message.timeout.ms",
                                                "metadata.broker.list",
                                                "partition.assignment.strategy",
                                                "partitioner",
                                                "queue.buffering.max.kbytes",
                                                "queue.buffering.max.messages",
                                                "queue.buffering.max.ms",
                                                "request.required.acks",
                                                "retries",
                                                "session.timeout.ms",
                                                "transactional.id"};

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }

bool is_host_and_port(std::string_view server) {
    const auto colon = server.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || server.find(',') != std::string_view::npos) {
        return false;
    }
    const auto digits = server.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return problem == std::errc{} && end == digits.data() + digits.size() && port > 0;
}

std::string text_of(std::chrono::milliseconds duration) { return std::to_string(duration.count()); }

Properties common(const ClientOptions& client) {
    std::string servers;
    for (const auto& server : client.servers) {
        servers.append(servers.empty() ? "" : ",").append(server);
    }
    Properties properties{{"bootstrap.servers", servers},
                          {"client.id", client.client_id},
                          {"log.connection.close", "false"},
                          {"reconnect.backoff.ms", "50"},
                          {"reconnect.backoff.max.ms", "2000"}};
    properties.insert(properties.end(), client.properties.begin(), client.properties.end());
    return properties;
}

int level_of(int syslog_level) { return syslog_level <= 3 ? 3 : syslog_level <= 5 ? 2 : 1; }

void write_log(const rd_kafka_t* client, int level, const char* facility, const char* text) {
    auto* opaque = static_cast<Opaque*>(rd_kafka_opaque(client));
    if (opaque == nullptr) {
        return;
    }
    // librdkafka calls the loss of a connection an error; it comes back by itself, so for us it is a warning.
    const auto ours_of = level_of(level);
    opaque->client_log.write(ours_of >= 2 ? LogLevel::warning : LogLevel::debug, "librdkafka",
                             {{"facility", facility}, {"text", text}});
}

}  // namespace

Result<void> check(const ClientOptions& client) {
    if (client.servers.empty()) {
        return refuse("no Kafka server is named: give at least one \"host:port\"");
    }
    for (const auto& server : client.servers) {
        if (!is_host_and_port(server)) {
            return refuse("Kafka server \"" + server + "\" is no address: write host:port");
        }
    }
    for (const auto& [name, value] : client.properties) {
        if (std::find(ours.begin(), ours.end(), name) != ours.end()) {
            return refuse("property \"" + name + "\" is not to be set: Hufu's promises stand on its value");
        }
    }
    return {};
}

Result<void> check(const PublisherOptions& options) {
    if (options.queue_messages_max == 0 || options.queue_messages_max > 1'000'000) {
        return refuse("publisher option queue_messages_max must be 1 to 1000000");
    }
    if (options.record_bytes_max < 1'000 || options.record_bytes_max > 100'000'000) {
        return refuse("publisher option record_bytes_max must be 1000 to 100000000 bytes");
    }
    if (options.queue_bytes_max < options.record_bytes_max || options.queue_bytes_max > (std::size_t{2} << 30)) {
        return refuse("publisher option queue_bytes_max must be between record_bytes_max and 2 GiB");
    }
    if (options.batch_bytes_max == 0 || options.batch_bytes_max > 100'000'000) {
        return refuse("publisher option batch_bytes_max must be 1 to 100000000 bytes");
    }
    if (options.linger.count() < 0 || options.linger >= options.send_timeout) {
        return refuse("publisher option linger must be at least 0 ms and below send_timeout");
    }
    if (options.send_timeout < std::chrono::milliseconds{100} || options.send_timeout > std::chrono::hours{24}) {
        return refuse("publisher option send_timeout must be 100 ms to 24 h");
    }
    return {};
}

Result<void> check(const SubscriptionOptions& subscription, const SubscriberOptions& options) {
    if (subscription.group.empty() || subscription.group.size() > 255) {
        return refuse("subscription has no group, or one of more than 255 characters: name the consumer group");
    }
    if (subscription.topics.empty()) {
        return refuse("subscription of group \"" + subscription.group + "\" has no topics: name at least one");
    }
    for (const auto& topic : subscription.topics) {
        if (const auto named = kafka_topic(topic); !named) {
            return named.error();
        }
    }
    if (options.session_timeout < std::chrono::milliseconds{1'000} || options.session_timeout > std::chrono::hours{1} ||
        options.heartbeat_every.count() <= 0 || options.heartbeat_every * 2 > options.session_timeout) {
        return refuse("subscriber option session_timeout must be 1 s to 1 h, heartbeat_every at most half of it");
    }
    if (options.topics_every < std::chrono::milliseconds{100} || options.topics_every > std::chrono::hours{1}) {
        return refuse("subscriber option topics_every must be 100 ms to 1 h");
    }
    if (options.offsets_every.count() <= 0 || options.close_timeout.count() <= 0) {
        return refuse("subscriber options offsets_every and close_timeout must be above 0 ms");
    }
    if (options.cached_messages_max == 0 || options.cached_bytes_max == 0) {
        return refuse("subscriber options cached_messages_max and cached_bytes_max must be above 0");
    }
    return {};
}

Properties producer_properties(const ClientOptions& client, const PublisherOptions& options) {
    Properties properties = common(client);
    const auto queue_kbytes = options.queue_bytes_max / 1'024 + options.record_bytes_max / 1'024 + 1'024;
    // An unknown topic is an answer only after this; before, it may be one that was just made.
    const auto unknown_after = std::min<std::chrono::milliseconds>(options.send_timeout / 2, std::chrono::seconds{5});
    for (auto& property : Properties{{"enable.idempotence", "true"},
                                     {"acks", "all"},
                                     {"partitioner", "murmur2_random"},
                                     {"linger.ms", text_of(options.linger)},
                                     {"batch.size", std::to_string(options.batch_bytes_max)},
                                     {"message.timeout.ms", text_of(options.send_timeout)},
                                     {"message.max.bytes", std::to_string(options.record_bytes_max + 1'024)},
                                     {"queue.buffering.max.messages", std::to_string(options.queue_messages_max + 1)},
                                     {"queue.buffering.max.kbytes", std::to_string(queue_kbytes)},
                                     {"topic.metadata.propagation.max.ms", text_of(unknown_after)}}) {
        properties.push_back(std::move(property));
    }
    return properties;
}

Properties consumer_properties(const ClientOptions& client, const SubscriptionOptions& subscription,
                               const SubscriberOptions& options) {
    Properties properties = common(client);
    for (auto& property : Properties{{"group.id", subscription.group},
                                     {"enable.auto.commit", "false"},
                                     {"enable.auto.offset.store", "false"},
                                     {"auto.offset.reset", "earliest"},
                                     {"isolation.level", "read_committed"},
                                     {"partition.assignment.strategy", "cooperative-sticky"},
                                     {"session.timeout.ms", text_of(options.session_timeout)},
                                     {"heartbeat.interval.ms", text_of(options.heartbeat_every)},
                                     {"topic.metadata.refresh.interval.ms", text_of(options.topics_every)},
                                     {"metadata.max.age.ms", text_of(options.topics_every * 3)},
                                     {"queued.max.messages.kbytes", "16384"}}) {
        properties.push_back(std::move(property));
    }
    return properties;
}

Result<Handle<rd_kafka_conf_t>> configuration(const Properties& properties, Opaque& opaque) {
    Handle<rd_kafka_conf_t> handle{rd_kafka_conf_new()};
    char problem[512];
    for (const auto& [name, value] : properties) {
        if (rd_kafka_conf_set(handle.get(), name.c_str(), value.c_str(), problem, sizeof problem) != RD_KAFKA_CONF_OK) {
            return refuse("Kafka property \"" + name + "\" is refused: " + problem);
        }
    }
    rd_kafka_conf_set_opaque(handle.get(), &opaque);
    rd_kafka_conf_set_log_cb(handle.get(), write_log);
    return handle;
}

Result<Handle<rd_kafka_t>> start(rd_kafka_type_t kind, Handle<rd_kafka_conf_t> configuration) {
    char problem[512];
    Handle<rd_kafka_t> client{rd_kafka_new(kind, configuration.get(), problem, sizeof problem)};
    if (client == nullptr) {
        return refuse(std::string{"no Kafka client could be made: "} + problem);
    }
    static_cast<void>(configuration.release());  // the client's now
    return client;
}

}  // namespace hufu::kafka
