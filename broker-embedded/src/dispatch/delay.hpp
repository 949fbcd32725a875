// How long a message asks to be held back.
#pragma once

#include <cstdint>
#include <optional>

#include "store.hpp"

namespace hufu::broker {

struct DispatcherOptions;

/// A message that is not for now.
struct Delay {
    std::int64_t due_ms = 0;  ///< since 1970 UTC
    bool any_time = false;    ///< asked for by time, not by level: the sender may recall it
};

/// What the properties ask for, at the wall-clock time `now_ms`: a level goes before a time, TIMER_DELAY_SEC before
/// TIMER_DELAY_MS before TIMER_DELIVER_MS. Nothing for level 0 and for times that have passed. Refused: what is not a number, and
/// what lies further ahead than `options.delay_max`.
[[nodiscard]] Refusal read_delay(const DispatcherOptions& options, const Traits& traits, std::int64_t now_ms,
                                 std::optional<Delay>& delay);

/// The delay of a level from 1 on; above the last one: the last one.
[[nodiscard]] Delay delay_of_level(const DispatcherOptions& options, std::int64_t level, std::int64_t now_ms);

/// True when the properties speak of a delay at all (a batch may not).
[[nodiscard]] bool asks_for_delay(const Traits& traits) noexcept;

}  // namespace hufu::broker
