// One seed of the outage ladder and the replay: producers on broker, shared buffer and journals, replayers beside them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct LadderRunResult {
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;  ///< that were accepted
    std::uint64_t crashes = 0;
    std::uint64_t lost = 0;  ///< with the shared buffer, as that states
    std::vector<Violation> violations;
};

/// Runs it under `seed`: two producers and two replayers, while the broker, Redis, networks, disks and processes fail; then
/// until the buffers are empty. Judges P6 (ladder_ledger.hpp). `trace`, if set, gets a line per event.
[[nodiscard]] LadderRunResult run_ladder_seed(std::uint64_t seed, std::string* trace = nullptr);

}  // namespace hufu::simulation
