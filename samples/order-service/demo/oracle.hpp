// Compares what was accepted with what took effect. Pure: evidence in, verdict out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evidence_reader.hpp"
#include "ledger.hpp"

namespace shop::demo {

/// A time in which something was broken on purpose, wall clock in microseconds.
struct Window {
    std::int64_t from_us = 0;
    std::int64_t until_us = 0;
};

struct Verdict {
    std::uint64_t accepted = 0;  ///< orders in the ledger
    std::uint64_t messages = 0;  ///< events the services committed
    std::uint64_t effects = 0;
    std::uint64_t duplicates_absorbed = 0;
    std::uint64_t lost = 0;            ///< accepted requests without a trace, and events without their effect
    std::uint64_t double_effects = 0;  ///< effects beyond the first of an event in a service
    std::uint64_t reordered = 0;       ///< effects of an order that took place after a later one of the same order
    std::uint64_t invented = 0;        ///< effects of events that nobody committed
    double p50_ms = 0;                 ///< commit of the event to its effect; deadlines left out
    double p99_ms = 0;
    double p99_quiet_ms = 0;  ///< of effects whose way met no window
    Sums sums = {};
    std::vector<std::string> examples = {};  ///< a few findings, in words

    /// Empty, or the promise that did not hold.
    [[nodiscard]] std::string broken() const;
};

[[nodiscard]] Verdict judge(const Ledger& ledger, const Evidence& evidence, const std::vector<Window>& windows);

}  // namespace shop::demo
