// What an operator asks of the bundled broker about transactions.
#pragma once

#include <memory>
#include <string>

#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/rocketmq/client.hpp>

namespace hufu::rocketmq {

/// Thread-safe; every call waits for the brokers' answers (up to `request_timeout` each). Asks all brokers of the cluster,
/// in the order of their addresses. Errors: `unavailable` (no broker reached), `unsupported` (a real RocketMQ: its halves
/// cannot be looked at from here), `permission`, `not_found`, `conflict` (decided the other way before).
class TransactionAdmin {
public:
    virtual ~TransactionAdmin() = default;
    /// A page, broker by broker, the oldest of each first; `next` is opaque.
    virtual Result<remoting::TransactionList> list(const remoting::TransactionFilter& filter) = 0;
    virtual Result<remoting::TransactionData> show(const std::string& id) = 0;
    /// `verdict` is "commit" or "rollback"; `reason` and `operator_` go into the broker's audit.
    virtual Result<remoting::TransactionData> decide(const remoting::TransactionCommand& command) = 0;
    /// A parked transaction is checked again.
    virtual Result<remoting::TransactionData> resume(const remoting::TransactionCommand& command) = 0;
};

/// Starts a client with one thread of its own; it connects with the first call. Borrows `clock`, `random` and `log`.
[[nodiscard]] Result<std::unique_ptr<TransactionAdmin>> open_transaction_admin(ClientOptions client,
                                                                               Clock& clock = system_clock(),
                                                                               Random& random = system_random(),
                                                                               Log& log = no_log());

}  // namespace hufu::rocketmq
