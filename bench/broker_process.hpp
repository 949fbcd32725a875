// hufu-broker as a child process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/test_support/sync_counter.hpp>

namespace hufu::bench {

/// Runs while the object lives; the destructor kills it.
class BrokerProcess {
public:
    /// Starts `program` on `folder`, with more `flags`, and waits until it accepts connections. `syncs` counts its syncs.
    static Result<BrokerProcess> start(const std::string& program, const std::string& folder,
                                       const std::vector<std::string>& flags = {},
                                       const test_support::SyncCounter* syncs = nullptr);
    ~BrokerProcess();
    BrokerProcess(BrokerProcess&& other) noexcept;
    BrokerProcess& operator=(BrokerProcess&& other) noexcept;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// From just before fork until the broker said that it accepts.
    [[nodiscard]] double start_ms() const noexcept { return start_ms_; }
    /// SIGKILL, and waits for the end.
    void kill();
    /// SIGTERM; false when the exit code was not 0.
    bool stop();

private:
    BrokerProcess() = default;
    int wait();

    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
    double start_ms_ = 0;
};

}  // namespace hufu::bench
