// Numbered schema changes, described once and printed or applied by each database adapter.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace hufu::outbox {

/// One step of a schema's history. A step is never edited once it was released; a correction is a new step.
/// Statements are idempotent, run in order, in one transaction where the database allows it, and record `number` in the
/// schema's version table as their last act.
struct Migration {
    int number = 0;                            ///< 1, 2, 3 … without holes
    std::string name = {};                     ///< snake_case, for people: `create_outbox`
    std::vector<std::string> statements = {};  ///< without the closing semicolon
};

/// The steps as a script a person can review and run: a comment line per step, statements closed by semicolons.
[[nodiscard]] std::string printed(std::span<const Migration> migrations);

/// Numbers are 1, 2, 3 … (asserted). The highest one is the version a program expects.
[[nodiscard]] int latest_version(std::span<const Migration> migrations);

}  // namespace hufu::outbox
