// A disk that is full for a while.
#pragma once

#include <cstdint>
#include <string>

#include <hufu/core/random.hpp>

#include "broker_child.hpp"
#include "broker_ledger.hpp"

namespace hufu::fault {

struct FullDisk {
    Verdict verdict;
    int rounds = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t not_refused = 0;  ///< rounds in which no send was refused while the disk was full: must be 0
    std::uint64_t not_healed = 0;   ///< rounds in which no send was taken when space had come back: must be 0
    [[nodiscard]] bool held() const { return verdict.held() && not_refused == 0 && not_healed == 0; }
};

/// Under load the disk gets full: sends are refused and everything acknowledged can be read. Space comes back: sends are
/// taken again by the same process. Then a power cut, and everything is read back. Every second round even writes into
/// space that was allocated before are refused.
FullDisk fill_the_disk(const Programs& programs, const std::string& root, int rounds, Random& random);

}  // namespace hufu::fault
