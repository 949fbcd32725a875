// The brokers under test: the bundled one, or a real RocketMQ.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace hufu::fault {

/// A process of its own; restarted on the same port and store.
class TxBroker {
public:
    virtual ~TxBroker() = default;
    /// Of the name server: what clients are given.
    [[nodiscard]] virtual std::uint16_t port() const = 0;
    /// Of the broker itself, to which its name server sends clients.
    [[nodiscard]] virtual std::uint16_t broker_port() const = 0;
    virtual void kill() = 0;
    virtual void start() = 0;
    /// Whether it tells what it holds undecided, and holds it for ever. A real RocketMQ does neither.
    [[nodiscard]] virtual bool is_ours() const = 0;
    [[nodiscard]] std::string url() const { return url_at(port()); }
    [[nodiscard]] static std::string url_at(std::uint16_t port) { return "rocketmq://127.0.0.1:" + std::to_string(port); }
};

/// hufu-broker from `programs`, with its store in `folder`; asks early and often.
std::unique_ptr<TxBroker> bundled_broker(const std::string& programs, const std::string& folder);

/// RocketMQ 5.3.3 with its store under `parent`; asks early and often.
std::unique_ptr<TxBroker> original_broker(const std::string& parent);

}  // namespace hufu::fault
