// The broker killed under full load, with and without losing what was not synced.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/random.hpp>

#include "broker_child.hpp"
#include "broker_ledger.hpp"

namespace hufu::fault {

enum class Fault : std::uint8_t { kill, page_loss, torn_pages };

[[nodiscard]] const char* name_of(Fault fault);

struct KillRounds {
    Verdict verdict;
    std::uint64_t acknowledged = 0;
    std::uint64_t acknowledged_in_batches = 0;  ///< of these
    std::uint64_t acknowledged_delayed = 0;     ///< of these
    std::uint64_t writes_taken_back = 0;
    std::int64_t recovery_ms_max = 0;
    int rounds[3] = {0, 0, 0};  ///< by fault
};

/// `rounds` of each fault: load, kill (and lose pages), restart, read everything back. Ends early at a broken promise.
KillRounds kill_under_load(const Programs& programs, const std::string& root, int rounds, Random& random);

}  // namespace hufu::fault
