// What a guard promises, said by whoever configures it and checked before the first message.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/retry.hpp>

namespace hufu::idempotency {

enum class Grade : std::uint8_t {
    /// One effect, whatever fails: the guard row is committed in the effect's own database transaction.
    effect_once,
    /// One effect while Redis keeps what it was told and no handler outlives its lease (docs/guards.md lists the
    /// exceptions); for effects that have no database.
    best_effort,
};

/// How long after its first delivery a message may be delivered again, part by part.
struct DuplicateAge {
    RetrySchedule retry = RetrySchedule::default_ladder();
    /// How far back a person may redrive, rewind or replay.
    std::chrono::seconds replay{0};
    /// How long the message may have lain in a buffer or an outbox when it is sent a second time.
    std::chrono::seconds buffer{0};
};

struct GuardDeclaration {
    std::string group = {};
    Grade grade = Grade::effect_once;
    /// How long a message is remembered once it was handled.
    std::chrono::seconds window = std::chrono::hours{7 * 24};
    DuplicateAge duplicates = {};
};

/// Refuses (`invalid_argument`/reject, with the arithmetic) a guard that forgets a message before its last duplicate can
/// come, retries without an end, and a group without a name.
Result<void> check(const GuardDeclaration& declaration);

/// What `check` adds up: how long after its first delivery a duplicate may come. Nothing when retries never end.
[[nodiscard]] std::optional<std::chrono::milliseconds> latest_duplicate(const DuplicateAge& duplicates);

/// Shorter than this nothing is cleaned up: clocks differ, and a message on its way has an age.
inline constexpr std::chrono::hours shortest_retention{1};

/// `check`, and a window of at least `shortest_retention`: what cleaning up asks first.
Result<void> check_retention(const GuardDeclaration& declaration);

/// "2 h 46 min", for error texts.
[[nodiscard]] std::string duration_text(std::chrono::milliseconds duration);

}  // namespace hufu::idempotency
