// Where a Redis server is, from its URL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::redis {

struct Address {
    std::string host = {};
    std::uint16_t port = 6379;
    std::string socket = {};  ///< path of a Unix socket; then host and port mean nothing
    std::string user = {};
    std::string password = {};
    unsigned database = 0;

    /// Without the password.
    [[nodiscard]] std::string name() const;
};

/// `redis://[user:password@]host[:port][/database]`, `redis+unix://[user:password@]/path[?db=N]`; parts may be
/// percent-encoded. `invalid_argument` says what is wrong with which part, never repeating a password.
Result<Address> parse_address(std::string_view url);

}  // namespace hufu::redis
