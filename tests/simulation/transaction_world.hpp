// One seed of transaction messages: services, their database, the whole broker, consumers, and everything that goes wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct TransactionRunResult {
    std::uint64_t steps = 0;
    std::uint64_t transactions = 0;
    std::uint64_t messages = 0;
    std::uint64_t crashes = 0;
    std::vector<Violation> violations;
};

/// Runs it under `seed` until everything is settled, and checks P1, P2 and P5. `trace`, if set, gets a line per event.
[[nodiscard]] TransactionRunResult run_transaction_seed(std::uint64_t seed, std::string* trace = nullptr);

}  // namespace hufu::simulation
