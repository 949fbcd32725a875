// hufu-broker as a child process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

namespace hufu::bench {

/// Runs while the object lives; the destructor kills it.
class BrokerProcess {
public:
    /// Starts `program` on `folder` and waits until it accepts connections.
    static Result<BrokerProcess> start(const std::string& program, const std::string& folder);
    ~BrokerProcess();
    BrokerProcess(BrokerProcess&& other) noexcept;
    BrokerProcess& operator=(BrokerProcess&& other) noexcept;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// From just before fork until the broker said that it accepts.
    [[nodiscard]] double start_ms() const noexcept { return start_ms_; }
    /// Anonymous resident memory now, MB of 1,000,000 bytes.
    [[nodiscard]] double rss_anon_mb() const;
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
