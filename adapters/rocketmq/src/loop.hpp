// The shell: one thread that owns sockets and a timer and obeys a Cluster and a machine on top of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster.hpp"

namespace hufu::rocketmq {

/// What runs on a loop. Every call comes from the loop's thread.
class Machine {
public:
    virtual ~Machine() = default;
    virtual void link(SteadyTime now, const std::string& address, bool up) = 0;
    virtual void request(SteadyTime now, const std::string& address, const remoting::CommandView& command) = 0;
    virtual void tick(SteadyTime now) = 0;
    [[nodiscard]] virtual std::optional<SteadyTime> next_tick() const = 0;
    /// After every event, when what it caused is on its way.
    virtual void settled(SteadyTime now) = 0;
};

/// Fills in what the user left open and refuses what cannot be: no name server, an address that is none.
[[nodiscard]] Result<ClientOptions> complete(ClientOptions options, Random& random);

class Loop {
public:
    /// `options` came out of `complete`.
    Loop(ClientOptions options, Clock& clock, Random& random, Log& log);
    ~Loop();  ///< `stop` was called, or `start` never was.
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    [[nodiscard]] Cluster& cluster() noexcept;
    void start(Machine& machine);
    /// Runs `task` on the loop's thread. From any thread.
    void post(std::function<void(SteadyTime)> task);
    /// Runs what was posted before, then ends the thread and closes the connections.
    void stop();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::rocketmq
