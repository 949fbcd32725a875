// How a ladder works: what topics need, what waits in memory, when to give up on a rung.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/degradation/circuit_breaker.hpp>

namespace hufu::degradation {

/// One buffer of the ladder.
struct RungOptions {
    /// For outcomes ("buffer:redis"), metrics and logs. Unique on its ladder.
    std::string name = {};
    /// Takes nothing more when it holds so much, or so old entries. 0: no limit but its own.
    std::uint64_t entries_max = 0;
    std::uint64_t bytes_max = 0;
    std::chrono::milliseconds age_max{0};
    /// Without an answer for so long it counts as away, and what was on its way to it goes to the next rung.
    std::chrono::milliseconds silence_max{250};
    /// Waits between looks at a rung that is away.
    RetrySchedule look_after =
        RetrySchedule::capped(std::chrono::milliseconds{50}, std::chrono::milliseconds{1'000}).jitter(0.2);
    /// How often the settings of a rung that is there are read again: they may be changed while it runs.
    std::chrono::milliseconds inspect_every{5'000};
    /// A rung that answered "full" or "read only" is not asked again for so long.
    std::chrono::milliseconds ask_again_after{500};
};

struct LadderOptions {
    /// What a topic tolerates to lose of accepted messages, and what other topics do. A rung whose settings may lose more is
    /// passed over for the topic.
    std::map<std::string, Loss, std::less<>> needs = {};
    Loss need = Loss::nothing;

    /// What happens to a message that no broker and no buffer takes, and when the memory is full.
    ///   error  it ends `not_sent` (or `in_doubt`, when a broker may have it) at once: the caller decides;
    ///   block  it waits in memory for `wait_max`; while the memory is full, `publish` makes its callers wait as long;
    ///   shed   it waits in memory for `wait_max`; while the memory is full, those that have waited longest end `not_sent`.
    enum class Overload : std::uint8_t { error, block, shed } overload = Overload::error;
    std::chrono::milliseconds wait_max{10'000};
    /// Messages in memory: waiting, or on their way to a broker or buffer.
    std::size_t held_messages_max = 100'000;
    std::size_t held_bytes_max = std::size_t{128} << 20;

    /// What a broker has not answered for so long is buffered as well once the breaker has opened.
    std::chrono::milliseconds spill_after{80};
    /// While the breaker is half open the replayer has so long to send the probe before a live message does.
    std::chrono::milliseconds live_probe_after{300};

    std::size_t batch_messages = 512;  ///< most messages in one batch
    std::size_t publishes_max = 16;    ///< batches on their way to one broker
    std::size_t spills_max = 4;        ///< batches on their way to one buffer

    /// What is taken for true of the keys of a shared buffer that does not answer.
    ///   as_last_known   nothing is buffered there if nothing was when it was last asked. A buffer that was never asked
    ///                   counts as holding every key;
    ///   holds_every_key messages with a key go to a later rung until it answers, though the broker is there.
    enum class Silence : std::uint8_t { as_last_known, holds_every_key } when_silent = Silence::as_last_known;

    BreakerOptions breaker = {};
};

[[nodiscard]] std::string_view to_string(LadderOptions::Overload overload) noexcept;
/// Reads "error", "block", "shed".
[[nodiscard]] Result<LadderOptions::Overload> parse_overload(std::string_view text);

/// What `topic` tolerates.
[[nodiscard]] Loss need_of(const LadderOptions& options, std::string_view topic);

/// Refuses options that make no sense; names option, value and rule.
[[nodiscard]] Result<void> validate(const LadderOptions& options, std::span<const RungOptions> rungs);

}  // namespace hufu::degradation
