// What every case of the outbox benchmark stands on: a durable PostgreSQL, the durable bundled broker as a process of its
// own, and relays.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/outbox/relay.hpp>
#include <hufu/postgres/connection.hpp>
#include <hufu/postgres/store.hpp>
#include <hufu/test_support/postgres_server.hpp>

namespace hufu::bench {

struct Options {
    std::int64_t rows = 1'000'000;  ///< of relay_drain
    int seconds = 10;               ///< of each measured leg
    int rounds = 5;                 ///< of interleaved legs
    bool json = false;
    std::string only = {};  ///< a case name's beginning
};

[[nodiscard]] inline SteadyTime now() noexcept { return system_clock().steady_now(); }
[[nodiscard]] double seconds_since(SteadyTime begin) noexcept;
void pause_until(SteadyTime time);

/// `hufu-broker`, from the folder of this program, on a Unix socket in a temporary folder. Ended by the destructor.
class DurableBroker {
public:
    DurableBroker();
    ~DurableBroker();
    DurableBroker(const DurableBroker&) = delete;
    DurableBroker& operator=(const DurableBroker&) = delete;
    /// Name server address for the client: "unix:PATH".
    [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
    std::string folder_;
    std::string address_;
    pid_t pid_ = 0;
};

[[nodiscard]] std::unique_ptr<Publisher> open_publisher(const std::string& broker);
[[nodiscard]] std::unique_ptr<Subscription> open_subscription(const std::string& broker, const std::string& group,
                                                              const std::string& topic);

/// A relay in this process, on a thread of its own.
class RelayThread {
public:
    RelayThread(const std::string& database, Publisher& publisher);
    ~RelayThread();  ///< Stops it; throws nothing. A relay that had given up is reported on standard error.
    [[nodiscard]] outbox::WakeHint& wake() noexcept { return relay_; }

private:
    postgres::Store store_;
    MetricsRegistry metrics_;
    outbox::Relay relay_;
    std::jthread thread_;
};

/// A relay as a process: this program started again.
class RelayProcess {
public:
    RelayProcess(const std::string& database, const std::string& broker);
    ~RelayProcess();
    RelayProcess(const RelayProcess&) = delete;
    RelayProcess& operator=(const RelayProcess&) = delete;

private:
    pid_t pid_ = 0;
};
/// What that process does until SIGTERM.
int run_relay_process(const std::string& database, const std::string& broker);

/// The server and its databases.
class Stage {
public:
    Stage();
    /// A new database with the schema and a table `bench_order`.
    [[nodiscard]] std::string database();
    [[nodiscard]] test_support::PostgresServer& server() noexcept { return server_; }
    [[nodiscard]] std::string version();

private:
    test_support::PostgresServer server_;
    int databases_ = 0;
};

[[nodiscard]] std::unique_ptr<postgres::Connection> connect(const std::string& database);
/// Whether rows are left in the lane; looks at its end, where a relay that follows has its last ones.
[[nodiscard]] bool anything_pending(postgres::Connection& connection);
/// Waits until the lane is empty; throws std::runtime_error after two minutes.
void wait_until_settled(postgres::Connection& connection);

}  // namespace hufu::bench
