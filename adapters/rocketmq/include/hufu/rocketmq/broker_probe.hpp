// How the brokers of a cluster are doing, by their own words.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/rocketmq/client.hpp>

namespace hufu::rocketmq {

struct BrokerHealth {
    std::string name = {};
    std::string address = {};
    Error error = {};  ///< why nothing is known of it; meaningful when `version` is empty
    std::string version = {};
    bool taking = true;                    ///< false: it refuses messages
    std::optional<double> disk_used = {};  ///< of the disk its log lies on, 0 to 1; none: it does not say
};

/// Asks the name server for the brokers, then each of them. One entry a broker, reached or not. Errors: `unavailable` when
/// no name server answers, `not_found` when it knows no broker.
[[nodiscard]] Result<std::vector<BrokerHealth>> probe_brokers(ClientOptions client, Clock& clock = system_clock(),
                                                              Random& random = system_random(), Log& log = no_log());

}  // namespace hufu::rocketmq
