// What a run found, for people and for machines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "oracle.hpp"

namespace shop::demo {

struct Outcome {
    Verdict verdict;
    std::string mode = {};  ///< how the order service told the others: outbox, txmsg or buffered
    std::uint64_t kills = 0;
    std::uint64_t in_doubt = 0;  ///< requests whose answer was lost and that were repeated
    /// What only buffered mode has: where accepted messages waited while the broker was away.
    struct Buffered {
        std::uint64_t by_redis = 0;  ///< messages that were accepted by being put there
        std::uint64_t by_journal = 0;
        std::uint64_t refused = 0;  ///< hand-overs that nothing took: the request was repeated
        std::uint64_t left = 0;     ///< in the buffers at the end; must be 0
        double outage_seconds = 0;  ///< without a broker
        double drain_ms = 0;        ///< from when the broker was back until nothing was buffered
    };
    std::optional<Buffered> buffered = {};
    double seconds = 0;      ///< of load, kills and waiting for quiet
    std::string stuck = {};  ///< why it never became quiet; empty when it did

    /// The promise that did not hold; empty when all did.
    [[nodiscard]] std::string broken() const;
    [[nodiscard]] bool held() const { return broken().empty(); }
};

/// A table for the terminal.
[[nodiscard]] std::string table(const Outcome& outcome);
/// One JSON object on one line.
[[nodiscard]] std::string json(const Outcome& outcome);
/// The same for a run that never came to a verdict: `{"held":false,"error":…}`.
[[nodiscard]] std::string json_of_failure(const std::string& error);

}  // namespace shop::demo
