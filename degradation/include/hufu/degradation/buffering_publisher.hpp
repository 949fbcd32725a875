// A publisher for which a dead broker is no outage.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/degradation/buffer.hpp>
#include <hufu/degradation/circuit_breaker.hpp>
#include <hufu/degradation/ladder_machine.hpp>
#include <hufu/degradation/ladder_options.hpp>

namespace hufu::degradation {

/// What a ladder stands on, from the top. Owned by the publisher made of it.
struct Ladder {
    /// The broker, then others that may take its place. At least one.
    std::vector<std::unique_ptr<Publisher>> brokers = {};
    struct Rung {
        std::unique_ptr<Buffer> buffer = {};
        RungOptions options = {};
    };
    /// From the first to be asked to the last: a buffer that processes share before one that is this process's own.
    std::vector<Rung> rungs = {};
    LadderOptions options = {};
};

/// All borrowed for the publisher's life.
struct LadderEnvironment {
    Clock& clock = system_clock();
    Random& random = system_random();  ///< must be safe from any thread
    Log& log = no_log();
    MetricsRegistry* metrics = nullptr;
};

/// A moment of a ladder, for people and health checks.
struct LadderStatus {
    struct Broker {
        BreakerState state = BreakerState::closed;
        std::uint64_t openings = 0;
        std::string reason = {};  ///< what made the breaker open last
    };
    struct Rung {
        std::string name = {};
        std::string address = {};
        LadderRung::State state = LadderRung::State::unchecked;
        std::optional<LossStatement> statement = {};  ///< what it may lose; empty while unknown
        BufferSize size = {};
        bool full = false;
        std::string trouble = {};
    };
    std::vector<Broker> brokers = {};
    std::vector<Rung> rungs = {};
    LadderFigures figures = {};
    bool degraded = false;
    std::uint64_t replayed = 0;  ///< buffered messages that a broker confirmed, by this process
    /// Where the next message of a topic without a declared need would go: "broker 0", "redis", "nowhere: …".
    std::string way = {};
};

/// Wraps a publisher: when the broker is away, messages go to the next broker or buffer of the ladder, and when it is back
/// they are replayed to it in key order, under their ids, by itself.
///
/// Delivery: a message is `confirmed` when a broker confirmed it or a buffer holds it; `broker_id` of the latter is
/// "buffer:" + the rung's name. From then on what the rung's loss statement says may be lost, and nothing else. A message
/// may reach the broker more than once, always with its id: guards absorb the copies.
/// Order: per (topic, ordering key), also across the processes that share a buffer, for callers that publish the next message
/// of a key after the one before was `confirmed`. docs/outage.md says where it ends.
/// Not promised: that business rows and messages happen both or not at all. That is the outbox's.
///
/// Threads: `publish` and `status` from any thread. One thread of its own decides and publishes, and two per buffer
/// look after it and replay it, whatever the load.
/// Memory: bounded by `LadderOptions::held_*`. With `Overload::block` a full memory makes `publish` wait for up to
/// `wait_max`; otherwise it never blocks.
/// The destructor ends what is in memory `in_doubt` or `not_sent`; what is buffered stays buffered.
///
/// Metrics: hufu_degradation_degraded, _breaker_state{broker} (0 closed, 1 half open, 2 open), _breaker_openings_total,
/// _accepted_total, _confirmed_total, _spilled_total{buffer}, _replayed_total, _refused_total, _shed_total, _rejected_total,
/// _held, _held_bytes, _buffer_up{buffer}, _buffered_entries, _buffered_bytes, _buffered_oldest_seconds, _parked{buffer}.
class BufferingPublisher final : public Publisher {
public:
    /// Looks at the buffers' settings, for at most a second; one that does not answer is looked for later. Throws
    /// `Exception` (`invalid_argument`) for options that `validate` refuses and for a ladder without a broker.
    explicit BufferingPublisher(Ladder ladder, LadderEnvironment environment = {});
    ~BufferingPublisher() override;
    BufferingPublisher(const BufferingPublisher&) = delete;
    BufferingPublisher& operator=(const BufferingPublisher&) = delete;

    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override;

    [[nodiscard]] LadderStatus status() const;

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // also held by what is on its way
};

}  // namespace hufu::degradation
