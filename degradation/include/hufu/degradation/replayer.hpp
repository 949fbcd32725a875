// The replayer: empties a buffer into a broker.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/degradation/replay_machine.hpp>

namespace hufu::degradation {

/// What a replayer uses of its surroundings; borrowed for its life.
struct ReplayEnvironment {
    Clock& clock = system_clock();
    Random& random = system_random();
    Log& log = no_log();
    /// Keeps what became of each message, durably, before the buffer forgets it. An error ends the replay; nothing that is
    /// not kept is trimmed. Called from the thread of `run`. Empty: nobody wants to know.
    std::function<Result<void>(std::span<const ReplayRecord>)> keep = {};
};

/// When `run` returns by itself.
struct ReplayEnd {
    bool when_empty = true;  ///< when nothing is left that it may replay; else only when asked to stop
    /// Gives up after so long without any progress, though something is left (a broker or buffer that stays away, another
    /// replayer that has it). 0: never.
    std::chrono::milliseconds patience{0};
};

struct ReplayReport {
    enum class Ended : std::uint8_t {
        drained,      ///< what is left was left on purpose
        stopped,      ///< as asked
        target_away,  ///< the broker confirmed nothing for as long as patience lasted
        source_away,  ///< the buffer did not answer for as long
        others_have,  ///< the rest is under way at another replayer
    } ended = Ended::stopped;
    ReplayFigures figures = {};
    std::optional<BufferSize> left = {};  ///< in the buffer at the end; empty when it does not answer
};
[[nodiscard]] std::string_view to_string(ReplayReport::Ended ended) noexcept;

/// `ReplayMachine` with the caller's thread, one that reads ahead and one that trims: the three overlap.
///
/// Threads: `run` is called once; `figures` from any thread. Buffer and publisher are borrowed until `run` has returned.
/// Delivery: at least once with the original ids, in order per (topic, ordering key). Killed at any point, another run goes
/// on where the buffer was trimmed. Several replayers of one buffer share its shards.
class Replayer {
public:
    /// Throws `Exception` (`invalid_argument`) when `validate(options)` refuses. `name` tells replayers of one buffer apart.
    Replayer(Buffer& source, Publisher& target, ReplayOptions options, std::string name, ReplayEnvironment environment = {});
    ~Replayer();
    Replayer(const Replayer&) = delete;
    Replayer& operator=(const Replayer&) = delete;

    /// Works until `stop` is asked for or `end` says so; then waits for what is under way, and gives the shards back. An
    /// error is fatal: the buffer is damaged, or outcomes cannot be kept. Nothing is lost by it.
    Result<ReplayReport> run(std::stop_token stop, ReplayEnd end = {});

    [[nodiscard]] ReplayFigures figures() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // also held by batches on their way
};

/// What a replay with this filter would do.
struct ReplayPreview {
    std::uint64_t matching = 0;
    std::uint64_t matching_bytes = 0;  ///< of their bodies
    std::uint64_t filtered = 0;
    std::uint64_t behind = 0;                          ///< match, but stand behind a filtered one of their key
    std::uint64_t parked = 0;                          ///< set aside earlier, or behind one
    std::map<std::string, std::uint64_t> topics = {};  ///< of the matching ones
};
/// Looks at the whole buffer and touches nothing.
[[nodiscard]] Result<ReplayPreview> preview(Buffer& source, const ReplayFilter& filter);

}  // namespace hufu::degradation
