// The cases of the outbox benchmark. Each adds its rows, and throws std::runtime_error when the run was not valid.
#pragma once

#include <vector>

#include "report.hpp"
#include "outbox_stage.hpp"

namespace hufu::bench {

/// Rate of business transactions with an append against the same without, 16 clients: in one flight, and on raw pqxx.
void append_overhead(Stage& stage, const Options& options, std::vector<ResultRow>& rows);
/// A backlog of `options.rows` through the relay into the broker, against deleting alone.
void relay_drain(Stage& stage, const Options& options, std::vector<ResultRow>& rows);
/// Writers, relay and broker together, with rollbacks and a transaction held open. Returns false when a row was lost or
/// reordered.
[[nodiscard]] bool relay_sustained(Stage& stage, const Options& options, std::vector<ResultRow>& rows);
/// From the return of COMMIT to the consumer, at 1,000 transactions per second. Returns false when a row was lost.
[[nodiscard]] bool commit_to_delivered(Stage& stage, const Options& options, std::vector<ResultRow>& rows);

}  // namespace hufu::bench
