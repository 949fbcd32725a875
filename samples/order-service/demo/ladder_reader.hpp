// What the order service says of its ladder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shop::demo {

struct Ladder {
    std::uint64_t entries = 0;  ///< in all buffers, parked ones included
    std::uint64_t refused = 0;
    std::vector<std::uint64_t> spilled = {};  ///< so far, from the first buffer to the last
    bool degraded = false;
    /// Nothing waits, and what comes goes to the broker.
    [[nodiscard]] bool drained() const noexcept { return entries == 0 && !degraded; }
    friend bool operator==(const Ladder&, const Ladder&) = default;
};

/// Reads `GET /ladder`. Throws `std::runtime_error` with the answer that is not one.
[[nodiscard]] Ladder parse_ladder(const std::string& page);
/// Asks the service on this port of 127.0.0.1. Throws `hufu::Exception` when it does not answer.
[[nodiscard]] Ladder read_ladder(std::uint16_t port);

}  // namespace shop::demo
