// Finding a message that a client names by its place in the log.
#pragma once

#include <cstdint>

#include <hufu/remoting/record.hpp>

#include "store.hpp"

namespace hufu::broker {

class DispatchState;

/// Reads the message that begins at `log_offset` into `state.read_bytes`; the record points there. Only what a consumer could
/// pull is found: not the hidden queues of timers. False with a refusal.
[[nodiscard]] bool read_message(DispatchState& state, std::int64_t log_offset, remoting::Record& record, Refusal& refusal);

}  // namespace hufu::broker
