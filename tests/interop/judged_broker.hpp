// The two brokers that the suite is played against, behind one face.
#pragma once

#include <memory>
#include <string>

namespace hufu::interop {

/// A running broker. Ends with the object. Throws std::runtime_error with the reason when it cannot be started.
class BrokerUnderTest {
public:
    virtual ~BrokerUnderTest() = default;
    /// "127.0.0.1:PORT" of the name service.
    [[nodiscard]] virtual std::string name_server() const = 0;
    /// SIGKILL to the broker, and a new one on the same data and address; returns when it serves.
    virtual void kill_and_restart() = 0;
    /// The last lines of its log.
    [[nodiscard]] virtual std::string log_tail() const = 0;
};

struct BrokerOptions {
    /// Requests must be signed by the account that the suite's clients know.
    bool access_control = false;
    std::string folder;    ///< for the data; made when missing
    std::string programs;  ///< folder of hufu-broker
};

[[nodiscard]] std::unique_ptr<BrokerUnderTest> start_rocketmq(const BrokerOptions& options);
[[nodiscard]] std::unique_ptr<BrokerUnderTest> start_hufu(const BrokerOptions& options);

}  // namespace hufu::interop
