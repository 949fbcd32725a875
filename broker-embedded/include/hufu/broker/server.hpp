// The bundled broker as a server: sockets in front of the Dispatcher, a folder behind it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include <hufu/broker/delay_levels.hpp>
#include <hufu/broker/transaction_options.hpp>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/random.hpp>

namespace hufu::broker {

/// When a send is answered with success.
enum class Durability : std::uint8_t {
    sync,   ///< after fdatasync returned 0 for the message's group
    async,  ///< once it is in memory, in order; a crash may lose the last moments. Consumers still see durable messages only
};

/// How long a connection may keep the broker waiting. Beyond it is closed, with a line in the log.
struct ConnectionPatience {
    std::chrono::milliseconds silence{std::chrono::seconds{120}};  ///< nothing sent and nothing read: RocketMQ's own time
    /// From the first byte of a frame to its last, and a second more for every 32 KiB that came.
    std::chrono::milliseconds frame{std::chrono::seconds{30}};
    std::chrono::milliseconds unread_answers{std::chrono::seconds{60}};  ///< the peer takes none of what it asked for
};

/// What a broker needs to know. A plain value; `Server::open` checks it.
struct ServerOptions {
    std::string folder;            ///< where the log lives; created when missing
    std::string listen = {};       ///< "host:port" (port 0: any free one), empty: no TCP
    std::string unix_socket = {};  ///< path of a Unix stream socket, empty: none
    std::string advertise = {};    ///< "IPv4:port" that clients are told, empty: what it listens on
    std::string acl_file = {};     ///< accounts and their rights (TOML); empty: everybody may do everything
    bool allow_remote = false;     ///< permits listening beyond the loopback interface without `acl_file`
    Durability durability = Durability::sync;
    bool auto_create_topics = true;    ///< a send to a missing topic makes it
    bool auto_create_groups = true;    ///< the first client that names a consumer group makes it
    std::uint32_t default_queues = 8;  ///< queues of topics made by a send
    /// Messages older than this are deleted, a segment at a time and after an alarm; 0: never.
    std::chrono::milliseconds keep_for = std::chrono::hours{72};
    std::uint64_t keep_bytes = 0;  ///< the oldest go when the log is larger; 0: no limit
    DelayLevels delay_levels = default_delay_levels();
    TransactionOptions transactions = {};
    /// Open connections; the next one is closed at once. What the process may open of files is a limit too.
    std::uint32_t connections_max = 10'000;
    ConnectionPatience patience = {};
    std::string metrics_listen = {};      ///< "host:port" for /metrics and /healthz, empty: none
    std::uint32_t metrics_series = 2000;  ///< topics, and pairs of group and topic, that /metrics names
};

/// A running broker. `open` recovers the log and listens; `run` serves until a stop is asked for.
///
/// Threads: `run` does all network work on the calling thread; the log's writer has a thread of its own. Only `run` may
/// be called after `open`, once. Borrows clock, random, metrics and log for its life.
///
/// Delivery: a send answered with success is in the log as durably as `durability` says and survives kill -9.
/// Errors of `open`: `busy` (folder owned by another broker, port in use), `corrupt`, `wrong_version`, `out_of_space`,
/// `permission`, `invalid_argument`. Nothing is left behind but the folder.
class Server {
public:
    static Result<std::unique_ptr<Server>> open(ServerOptions options, Clock& clock, Random& random,
                                                MetricsRegistry& metrics, hufu::Log& log);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Serves until `stop`, then answers what was accepted, stores consumer positions and closes. An error means that
    /// the log had to be given up.
    Result<void> run(std::stop_token stop);

    /// Reads `acl_file` again. A file that is wrong changes nothing and is reported. From any thread, while `run` runs.
    void reload();

    /// "host:port" in effect, empty without TCP.
    [[nodiscard]] const std::string& tcp_address() const noexcept;
    /// Path of the Unix socket, empty without.
    [[nodiscard]] const std::string& unix_address() const noexcept;
    /// "host:port" of /metrics, empty without.
    [[nodiscard]] const std::string& metrics_address() const noexcept;

private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::broker
