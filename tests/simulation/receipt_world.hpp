// One seed of receipts: a sender's book, re-senders, consumers with guards, and everything that gets lost between them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ledger.hpp"

namespace hufu::simulation {

struct ReceiptRunResult {
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;
    std::uint64_t crashes = 0;
    std::uint64_t resent = 0;
    std::vector<Violation> violations;
};

/// Runs it under `seed` until every message has ended. Each must end confirmed, or parked because a group refused it; each
/// effect must be there once; nothing is sent again after its confirmation, but for what a claim is trusted. `trace`, if set,
/// gets a line per event.
[[nodiscard]] ReceiptRunResult run_receipt_seed(std::uint64_t seed, std::string* trace = nullptr);

}  // namespace hufu::simulation
