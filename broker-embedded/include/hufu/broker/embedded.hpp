// The bundled broker inside a process: same log, same protocol, reached over a Unix socket in the folder.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include <hufu/broker/server.hpp>

namespace hufu::broker {

/// Runs a broker for `folder` on a thread of its own as long as the object lives. It owns the folder's lock and serves
/// `folder/broker.sock`; the owner itself and every other process connect there.
///
/// `open` answers `busy` when another process owns the folder: connect to `socket_path(folder)` instead, and try to
/// own it again when that connection is lost. The destructor stops cleanly (accepted sends are answered first).
class EmbeddedBroker {
public:
    static Result<std::unique_ptr<EmbeddedBroker>> open(ServerOptions options, Clock& clock, Random& random,
                                                        MetricsRegistry& metrics, hufu::Log& log);
    ~EmbeddedBroker();
    EmbeddedBroker(const EmbeddedBroker&) = delete;
    EmbeddedBroker& operator=(const EmbeddedBroker&) = delete;

    /// Where the broker that owns `folder` can be reached.
    [[nodiscard]] static std::string socket_path(const std::string& folder);
    [[nodiscard]] const Server& server() const noexcept { return *server_; }

private:
    explicit EmbeddedBroker(std::unique_ptr<Server> server);
    std::unique_ptr<Server> server_;
    std::jthread thread_;  // last: joined before the server goes
};

}  // namespace hufu::broker
