// One seed of guards and locks: effects under leases, effects in a database that forgets, an account under a lock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct GuardRunResult {
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;
    std::uint64_t crashes = 0;
    std::uint64_t doubles = 0;       ///< that best_effort allows
    std::uint64_t lock_updates = 0;  ///< of the account
    std::vector<Violation> violations;
};

/// Runs until everything is quiet, and checks P3: one effect where the database guards, at least one where Redis does, no
/// second one unless something happened that docs/guards.md lists, no result overwritten, no update of a late holder.
[[nodiscard]] GuardRunResult run_guard_seed(std::uint64_t seed, std::string* trace = nullptr);

}  // namespace hufu::simulation
