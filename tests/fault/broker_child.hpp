// The broker as a process that faults are done to.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <hufu/test_support/child.hpp>

namespace hufu::fault {

/// Where the programs are, and what is asked of them.
struct Programs {
    std::string folder;       ///< of hufu-broker; the shim is in ../lib
    bool break_sync = false;  ///< the broker may acknowledge before its sync: the checker must see it
};

/// hufu-broker on `folder`/data, listening on a free port. Killed by the destructor.
class BrokerChild {
public:
    /// With `watched`, under the shim whose journal is `folder`/journal; `orders` are variables for the shim.
    BrokerChild(const Programs& programs, const std::string& folder, bool watched,
                const std::vector<std::string>& orders = {});

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// Waits until connections are accepted; returns how long it took. Throws when that takes more than 20 s.
    std::chrono::milliseconds wait_ready();
    /// Waits until connections are accepted or the process has ended by itself, and says which.
    bool wait_ready_or_ended();
    [[nodiscard]] bool running() { return child_.running(); }
    void kill() { child_.kill(); }

private:
    std::uint16_t port_;
    std::string output_;
    test_support::Child child_;
};

}  // namespace hufu::fault
