// What a run found, for people and for machines.
#pragma once

#include <cstdint>
#include <string>

#include "oracle.hpp"

namespace shop::demo {

struct Outcome {
    Verdict verdict;
    std::string mode = {};  ///< how the order service told the others: outbox or txmsg
    std::uint64_t kills = 0;
    std::uint64_t in_doubt = 0;  ///< requests whose answer was lost and that were repeated
    double seconds = 0;          ///< of load, kills and waiting for quiet
    std::string stuck = {};      ///< why it never became quiet; empty when it did

    /// The promise that did not hold; empty when all did.
    [[nodiscard]] std::string broken() const { return verdict.broken().empty() ? stuck : verdict.broken(); }
    [[nodiscard]] bool held() const { return broken().empty(); }
};

/// A table for the terminal.
[[nodiscard]] std::string table(const Outcome& outcome);
/// One JSON object on one line.
[[nodiscard]] std::string json(const Outcome& outcome);
/// The same for a run that never came to a verdict: `{"held":false,"error":…}`.
[[nodiscard]] std::string json_of_failure(const std::string& error);

}  // namespace shop::demo
