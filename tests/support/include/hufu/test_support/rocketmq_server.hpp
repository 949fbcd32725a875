// A private Apache RocketMQ 5.3.3, name server and broker, for interop tests and benchmarks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/sync_counter.hpp>

namespace hufu::test_support {

struct RocketmqServerOptions {
    /// Folder to keep everything in. Empty: a new folder under `parent`, removed at the end.
    std::string directory = {};
    std::string parent = "/tmp";
    /// SYNC_FLUSH: a send is answered after the flush. Otherwise ASYNC_FLUSH.
    bool sync_flush = true;
    /// Heap of the broker. `fast` gives it at once, with the JVM's own compilers, collector and file sizes, for measuring;
    /// otherwise small files and the C1 compiler, for tests.
    unsigned heap_mb = 160;
    bool fast = false;
    /// Lines for broker.conf, such as "messageDelayLevel=1s 2s"; they win over the fixture's own.
    std::vector<std::string> settings = {};
    /// More flags for the broker's JVM.
    std::vector<std::string> flags = {};
    /// Counts the syncs of the broker; outlives the server.
    const SyncCounter* syncs = nullptr;
};

/// One name server and one broker on free ports of 127.0.0.1; nothing of them listens elsewhere. The constructor returns
/// when the broker is registered, and throws std::runtime_error with the way out when there is no JVM or no jars. Both end
/// by SIGKILL with this object, and when the thread that made it ends. Not thread-safe.
class RocketmqServer {
public:
    explicit RocketmqServer(RocketmqServerOptions options = {});
    ~RocketmqServer() = default;

    /// "127.0.0.1:PORT" of the name server: what clients and mqadmin are given.
    [[nodiscard]] std::string name_server() const { return "127.0.0.1:" + std::to_string(name_server_port_); }
    /// "127.0.0.1:PORT" of the broker.
    [[nodiscard]] std::string broker() const { return "127.0.0.1:" + std::to_string(broker_port_); }
    [[nodiscard]] std::uint16_t broker_port() const noexcept { return broker_port_; }
    [[nodiscard]] pid_t broker_pid() const noexcept { return broker_.pid(); }
    [[nodiscard]] pid_t name_server_pid() const noexcept { return name_server_.pid(); }
    [[nodiscard]] const std::string& directory() const noexcept { return folder_.path(); }
    static constexpr const char* cluster = "TestCluster";

    /// SIGKILL to the broker; the name server lives on.
    void kill_broker() { broker_.kill(); }
    /// SIGTERM; takes 8 to 15 s, and leaves a store that needs no recovery.
    void stop_broker() { broker_.terminate(); }
    /// Starts the broker again on the same port and store; returns when it is registered. Its configuration file is written
    /// anew, with `more` lines at the end.
    void start_broker(const std::vector<std::string>& more = {});
    /// From the start of the broker's process until its port accepted connections, of the last start.
    [[nodiscard]] double broker_start_ms() const noexcept { return broker_start_ms_; }
    /// The last lines of the broker's log, for messages.
    [[nodiscard]] std::string log_tail() const;

private:
    void start_name_server();
    void write_broker_configuration(const std::vector<std::string>& more);
    [[nodiscard]] std::vector<std::string> common_flags(const std::string& home) const;

    RocketmqServerOptions options_;
    PrivateFolder folder_;
    std::uint16_t name_server_port_ = 0;
    std::uint16_t broker_port_ = 0;
    double broker_start_ms_ = 0;
    Child name_server_;
    Child broker_;
};

}  // namespace hufu::test_support
