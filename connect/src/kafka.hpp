// kafka:// addresses.
#pragma once

#include <string>

#include <hufu/core/error.hpp>
#include <hufu/kafka/client.hpp>

namespace hufu::connect {

/// What stands after "kafka://": [USER[:PASSWORD]@]HOST:PORT[,HOST:PORT…][?PROPERTY=VALUE[&…]]. `url` is for errors.
[[nodiscard]] Result<kafka::ClientOptions> kafka_client(const std::string& url, std::string rest);

}  // namespace hufu::connect
