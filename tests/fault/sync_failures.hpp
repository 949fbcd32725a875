// Every sync call of a short run, made to fail once.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/random.hpp>

#include "broker_ledger.hpp"
#include "broker_child.hpp"

namespace hufu::fault {

struct SyncFailures {
    Verdict verdict;
    int runs = 0;
    std::uint64_t sync_calls = 0;  ///< of a run in which none fails
    std::uint64_t acknowledged = 0;
    std::uint64_t refused = 0;     ///< sends answered with an error, as they must be
    std::uint64_t not_healed = 0;  ///< runs whose broker took no send again, though only one sync failed: must be 0
    [[nodiscard]] bool held() const { return verdict.held() && not_healed == 0; }
};

/// Runs 200 sends one after the other, as often as that takes sync calls, and fails another one each time (every `step`th
/// one); what was not synced before, or was written before the failure, is then lost as in a power cut.
SyncFailures fail_every_sync(const Programs& programs, const std::string& root, int step, Random& random);

}  // namespace hufu::fault
