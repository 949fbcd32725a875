// END storms: verdicts that are doubled, reordered and late, across restarts and power cuts, on the whole broker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct StormResult {
    std::uint64_t sequences = 0;  ///< transactions, each with a storm of its own
    std::uint64_t events = 0;
    std::vector<Violation> violations;

    void add(StormResult other);
};

/// Every sequence of `length` events (and so every shorter one, as its beginning) out of: END commit, END rollback, END from a
/// check that knows nothing, the half sent again, the broker killed, its power cut. Once with the disk in step with every
/// event, once with a disk that is behind.
/// A part is what one broker goes through: there are `end_storm_parts(length)` of them.
[[nodiscard]] std::uint64_t end_storm_parts(std::size_t length);
[[nodiscard]] StormResult run_end_storm_part(std::size_t length, std::uint64_t part);

/// `count` transactions, each with its own random sequence of about a dozen events; the restarts they share.
[[nodiscard]] StormResult run_random_end_storms(std::uint64_t seed, std::uint64_t count);

/// One sequence, with the letters of a storm's history: C commit, R rollback, U a check that knows nothing, H the half again,
/// K killed, P power cut. On a transaction of one message and one of two; once with the disk in step and once with it behind.
/// Throws std::invalid_argument for another letter.
[[nodiscard]] StormResult run_end_storm(std::string_view events);

}  // namespace hufu::simulation
