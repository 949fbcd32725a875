// From the addresses in a configuration to a publisher for which a dead broker is no outage.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <hufu/connect/connect.hpp>
#include <hufu/core/error.hpp>
#include <hufu/degradation/buffering_publisher.hpp>
#include <hufu/degradation/ladder_options.hpp>

namespace hufu::connect {

/// The rungs of a ladder, from the top, each by its address. An empty one is left out; the first is needed, and one of the
/// others.
struct LadderAddresses {
    std::string broker = {};         ///< any address that `publisher` takes
    std::string second_broker = {};  ///< takes its place while it is away; consumers of both see no order across them
    std::string redis = {};  ///< redis://… or redis+unix://…, as `buffer` takes it; shared by all that name the same buffer
    std::string journal = {};  ///< journal:DIR, of this process alone
    /// What topics tolerate to lose of accepted messages, each TOPIC=nothing|last_second|everything. They join
    /// `LadderOptions::needs` and win over it.
    std::vector<std::string> needs = {};
};

/// Connects the rungs, named "redis" and "journal" in outcomes and metrics. Brokers and Redis may be away: they are connected
/// to when needed. A journal is opened at once, and its folder locked for the publisher's life (`busy`/fatal: another has it).
///
/// `surroundings` are borrowed for the publisher's life. Errors name the rung or the need, its value and what it may be:
/// `invalid_argument`/reject for an address that is none, a rung given twice, a ladder without a second rung, a need that is
/// not TOPIC=LOSS, and for `options` that `degradation::validate` refuses; those of `publisher` and `buffer` otherwise.
[[nodiscard]] Result<std::unique_ptr<degradation::BufferingPublisher>> buffering_publisher(
    const LadderAddresses& addresses, degradation::LadderOptions options = {}, const Surroundings& surroundings = {});

}  // namespace hufu::connect
