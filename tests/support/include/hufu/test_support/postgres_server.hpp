// A private PostgreSQL server for tests, benchmarks and the demo.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hufu::test_support {

struct PostgresServerOptions {
    /// Folder to keep the data in. Empty: a new folder under /tmp, removed at the end. An existing data folder is started
    /// again as it stands.
    std::string directory = {};
    /// fsync and synchronous_commit as PostgreSQL ships them. Off: faster, still safe against killed processes.
    bool durable = false;
    /// Lines for postgresql.conf, such as "max_prepared_transactions = 4".
    std::vector<std::string> settings = {};
};

/// How a server is told to stop: `fast` rolls open transactions back, `immediate` crashes in an orderly way and recovers at
/// the next start, `kill` is SIGKILL to the postmaster and every backend.
enum class StopMode : std::uint8_t { fast, immediate, kill };

/// One PostgreSQL server on a free port of 127.0.0.1 with a Unix socket in its folder. The constructor returns when it
/// answers, and throws std::runtime_error with the way out when there is no PostgreSQL on this machine: a missing server is
/// an error, never a skipped test. Ends with this object, and also when this process dies. As root it runs under
/// `postgres` (or `nobody`), because PostgreSQL refuses root.
/// Not thread-safe.
class PostgresServer {
public:
    explicit PostgresServer(PostgresServerOptions options = {});
    ~PostgresServer();
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    /// "postgresql://hufu@127.0.0.1:PORT/NAME", a form that libpq, pqxx and `hufu` read.
    [[nodiscard]] std::string url(std::string_view database = "postgres") const;
    /// The same server by its Unix socket; cheaper for measurements.
    [[nodiscard]] std::string socket_url(std::string_view database = "postgres") const;
    /// Creates an empty database with a name of its own and returns its URL.
    [[nodiscard]] std::string create_database();
    /// Runs one statement as superuser in `database`; returns the first column of the first row, or nothing.
    std::string query(std::string_view sql, std::string_view database = "postgres");

    void stop(StopMode mode = StopMode::fast);
    /// Starts again on the same port; returns when it answers.
    void start();
    void restart(StopMode mode = StopMode::fast) {
        stop(mode);
        start();
    }

    /// Copies the data of the stopped server aside, or puts such a copy back in its place: a server that has forgotten.
    void save_copy();
    void restore_copy();

    [[nodiscard]] bool running() const noexcept { return pid_ > 0; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
    /// The last lines of the server's log, for messages.
    [[nodiscard]] std::string log_tail() const;

private:
    void init_data();
    void start_supervisor();
    void wait_until_ready();

    PostgresServerOptions options_;
    std::string binaries_;
    std::string directory_;
    bool remove_directory_ = false;
    uid_t uid_ = 0;
    gid_t gid_ = 0;
    std::uint16_t port_ = 0;
    pid_t pid_ = 0;
    pid_t supervisor_ = 0;
    int supervisor_pipe_ = -1;
    unsigned databases_ = 0;
};

}  // namespace hufu::test_support
