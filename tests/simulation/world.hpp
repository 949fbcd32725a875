// One seed: business transactions, relays, broker, consumers, and everything that goes wrong with them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct RunResult {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;  ///< written by business transactions, rolled-back ones included
    std::uint64_t effects = 0;
    std::uint64_t crashes = 0;  ///< processes and servers that died
    std::vector<Violation> violations;
};

/// Runs the house under `seed` until everything is quiet, and checks P1 to P4. `trace`, if set, gets a line per fault.
[[nodiscard]] RunResult run_seed(std::uint64_t seed, std::string* trace = nullptr);

}  // namespace hufu::simulation
