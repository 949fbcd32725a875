// A private Redis server for tests, benchmarks and fault runs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/test_support/child.hpp>

namespace hufu::test_support {

struct RedisServerOptions {
    /// Folder to keep everything in. Empty: a new folder under /tmp, removed at the end.
    std::string directory = {};
    /// Append-only file synced with every write. Off: a restart has forgotten everything.
    bool durable = false;
    std::string password = {};
    /// Lines for redis.conf, such as "maxmemory 2mb"; they win over the fixture's own.
    std::vector<std::string> settings = {};
};

/// One server on a free port of 127.0.0.1 and a Unix socket in its folder. The constructor returns when it answers, and
/// throws std::runtime_error with the way out when there is no Redis on this machine. Ends by SIGKILL with this object, and
/// when the thread that made it ends. Not thread-safe.
class RedisServer {
public:
    explicit RedisServer(RedisServerOptions options = {});

    /// "redis://127.0.0.1:PORT", with the password if there is one.
    [[nodiscard]] std::string url() const;
    /// The same server by its Unix socket.
    [[nodiscard]] std::string socket_url() const;
    [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] pid_t pid() const noexcept { return server_.pid(); }
    [[nodiscard]] const std::string& directory() const noexcept { return folder_.path(); }

    /// Runs one command on a connection of its own and returns the first line of the answer without its sign; throws
    /// std::runtime_error for an error.
    std::string command(std::initializer_list<std::string_view> words) const;
    void flush() const { command({"FLUSHALL"}); }
    void config_set(std::string_view name, std::string_view value) const { command({"CONFIG", "SET", name, value}); }

    void kill() { server_.kill(); }
    /// SIGTERM: it writes what it keeps.
    void stop() { server_.terminate(); }
    /// Starts again on the same port; returns when it answers.
    void start();
    void restart() {
        stop();
        start();
    }
    /// SIGSTOP and SIGCONT: a server that hangs.
    void pause() const;
    void resume() const;
    [[nodiscard]] std::string log_tail() const;

private:
    RedisServerOptions options_;
    PrivateFolder folder_;
    std::string socket_;
    std::uint16_t port_;
    Child server_;
};

/// Two nodes of a cluster that get to know each other: `one` has slot 0 only, so that it sends nearly every key to `two`.
struct SplitRedisCluster {
    SplitRedisCluster();
    RedisServer one{{.settings = {"cluster-enabled yes"}}};
    RedisServer two{{.settings = {"cluster-enabled yes"}}};
};

}  // namespace hufu::test_support
