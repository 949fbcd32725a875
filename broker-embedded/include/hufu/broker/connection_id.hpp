// Names one connection to the broker's machines.
#pragma once

#include <compare>
#include <cstdint>

namespace hufu::broker {

/// A connection slot and its generation, so that a late effect for a closed connection never reaches its successor.
struct ConnectionId {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;  ///< 0: no connection
    friend constexpr auto operator<=>(const ConnectionId&, const ConnectionId&) = default;
};

}  // namespace hufu::broker
