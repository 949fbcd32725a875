// A private Apache Kafka 4.3.1, one node in KRaft mode, for tests and benchmarks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/sync_counter.hpp>

namespace hufu::test_support {

struct KafkaServerOptions {
    /// Folder to keep everything in. Empty: a new folder under `parent`, removed at the end.
    std::string directory = {};
    std::string parent = "/tmp";
    /// Every acknowledged message is flushed first (flush.messages=1). Kafka's default is not to.
    bool flush_each = true;
    unsigned heap_mb = 96;
    bool fast = false;  ///< for measuring: the JVM's own compilers and collector, Kafka's own file sizes
    /// Lines for server.properties; they win over the fixture's own.
    std::vector<std::string> settings = {};
    /// Counts the syncs of the broker; outlives the server.
    const SyncCounter* syncs = nullptr;
};

/// One broker on free ports of 127.0.0.1. The constructor returns when it accepts connections, and throws
/// std::runtime_error with the way out when there is no JVM or no jars. Ends by SIGKILL with this object, and when the
/// thread that made it ends. Not thread-safe.
class KafkaServer {
public:
    explicit KafkaServer(KafkaServerOptions options = {});
    ~KafkaServer() = default;

    /// "127.0.0.1:PORT", the bootstrap server.
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] pid_t pid() const noexcept { return broker_.pid(); }
    [[nodiscard]] const std::string& directory() const noexcept { return folder_.path(); }

    /// Makes a topic by Kafka's own tool; about 1.5 s.
    void create_topic(const std::string& name, int partitions);
    void kill() { broker_.kill(); }
    /// Starts again on the same ports and data; after a kill this takes 2 s until its old registration has expired.
    void start();
    /// From the start of the process until its port accepted connections, of the last start.
    [[nodiscard]] double start_ms() const noexcept { return start_ms_; }

private:
    void write_configuration();
    void format();

    KafkaServerOptions options_;
    PrivateFolder folder_;
    std::uint16_t port_ = 0;
    double start_ms_ = 0;
    Child broker_;
};

}  // namespace hufu::test_support
