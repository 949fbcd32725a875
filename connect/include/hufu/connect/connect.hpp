// From a URL to a port. The only library that knows every adapter and the bundled broker.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/deadletter/topic_reader.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/guard.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/rocketmq/broker_probe.hpp>
#include <hufu/rocketmq/transaction_admin.hpp>
#include <hufu/txmsg/half_publisher.hpp>
#include <hufu/txmsg/verdict_store.hpp>

// Known addresses:
//   stores    sqlite:PATH, postgresql://USER@HOST/DATABASE
//   brokers   rocketmq://[KEY[:SECRET]@]HOST:PORT[,HOST:PORT…], rocketmq+unix:PATH, embedded:DIR
//             A KEY signs every request; its SECRET is better kept in the environment, as HUFU_ROCKETMQ_SECRET, or in the
//             file that HUFU_ROCKETMQ_SECRET_FILE names.
//             kafka://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT…][?PROPERTY=VALUE[&…]], properties being librdkafka's, such as
//             compression.type=lz4. A USER means TLS and SCRAM-SHA-256 unless security.protocol and sasl.mechanism say
//             otherwise; its PASSWORD is better kept in HUFU_KAFKA_PASSWORD or the file that HUFU_KAFKA_PASSWORD_FILE names.
//   buffers   redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], redis+unix:///PATH[?db=N]; settings behind a '?': buffer=NAME,
//             shards=N, wait_replicas=N, bytes_max=N, lease_ms=N, may_lose=nothing|last_second|everything (believed where the server hides
//             its settings); journal:DIR
//
// Every function answers `invalid_argument`/reject for a URL it does not know, naming those that it does. What is returned
// outlives the call alone: it owns its connections and, for `embedded:`, the broker.
namespace hufu::connect {

/// What the ports stand on. Borrowed for their life; null means the machine's clock and chance, and metrics and log that
/// nobody reads.
struct Surroundings {
    Clock* clock = nullptr;
    Random* random = nullptr;
    MetricsRegistry* metrics = nullptr;
    Log* log = nullptr;
};

/// The outbox in an existing database. For SQLite, checks file and schema version at once (`not_found`,
/// `wrong_version` …); PostgreSQL is connected to at first use.
[[nodiscard]] Result<std::unique_ptr<outbox::Store>> outbox(const std::string& url, const Surroundings& surroundings = {});

/// What writers and relays of this outbox call each other by: the name for `outbox::DatagramHint` and its receiver.
[[nodiscard]] Result<std::string> lane_name(const std::string& url);

/// Brings the schema of the database up to this program's version (SQLite: makes the file). Returns the version.
[[nodiscard]] Result<int> migrate_outbox(const std::string& url);

/// The same as a script to review and run by other means.
[[nodiscard]] Result<std::string> printed_migrations(const std::string& url);

/// The verdict table in an existing database that has the schema (`migrate_outbox` brings it). For SQLite the file is
/// opened at once; PostgreSQL is connected to at first use.
[[nodiscard]] Result<std::unique_ptr<txmsg::VerdictStore>> verdicts(const std::string& url,
                                                                    const Surroundings& surroundings = {});

/// Deletes the guard rows of a group that are older than its declared window (`idempotency::check_retention` refuses one that
/// is too short), and moves the group's horizon: see `postgres::purge_guards`, `sqlite::purge_guards`.
[[nodiscard]] Result<idempotency::Purged> purge_guards(const std::string& url,
                                                       const idempotency::GuardDeclaration& declaration,
                                                       const Surroundings& surroundings = {});

/// The consumer groups that have guard rows in this database.
[[nodiscard]] Result<std::vector<std::string>> guard_groups(const std::string& url, const Surroundings& surroundings = {});

/// Hands messages to the broker. A broker that is away is an outcome of each publish, not an error here.
[[nodiscard]] Result<std::unique_ptr<Publisher>> publisher(const std::string& url, const Surroundings& surroundings = {});

/// Transaction messages at the broker: halves, their end, and its questions. A broker that is away is an outcome of each call.
[[nodiscard]] Result<std::unique_ptr<txmsg::HalfPublisher>> half_publisher(const std::string& url,
                                                                           const Surroundings& surroundings = {});

/// Looks at the transactions of the bundled broker, and settles them by hand.
[[nodiscard]] Result<std::unique_ptr<rocketmq::TransactionAdmin>> transaction_admin(const std::string& url,
                                                                                    const Surroundings& surroundings = {});

/// How the brokers behind the address are doing, by their own words. `unsupported` for Kafka.
[[nodiscard]] Result<std::vector<rocketmq::BrokerHealth>> probe_brokers(const std::string& url,
                                                                        const Surroundings& surroundings = {});

/// Looks into topics by place, outside of any consumer group; dead letters are read with it.
[[nodiscard]] Result<std::unique_ptr<deadletter::TopicReader>> topic_reader(const std::string& url,
                                                                            const Surroundings& surroundings = {});

/// How a journal is opened.
struct BufferOptions {
    bool create = true;            ///< its folder, where it is missing
    bool give_up_damaged = false;  ///< see `degradation::JournalOptions`
};

/// Where messages wait while the broker is away. A Redis is connected to at first use; what it lost is logged and counted
/// (hufu_buffer_lost_entries_total). A journal is opened at once, and its folder locked (`busy`/fatal: another has it).
[[nodiscard]] Result<std::unique_ptr<degradation::Buffer>> buffer(const std::string& url,
                                                                  const Surroundings& surroundings = {},
                                                                  const BufferOptions& options = {});

/// A member of a consumer group. A broker that is away is waited for in `receive`.
[[nodiscard]] Result<std::unique_ptr<Subscription>> subscription(const std::string& url, SubscriptionOptions options,
                                                                 const Surroundings& surroundings = {});

}  // namespace hufu::connect
