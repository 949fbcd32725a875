// A rung of the ladder: messages wait in Redis streams, in order per key, behind a barrier that every process sees.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/degradation/buffer.hpp>
#include <hufu/redis/client.hpp>

namespace hufu::redis {

/// What the server no longer has: entries that this process knows were accepted, or what keeps their order.
struct BufferLoss {
    std::uint64_t entries_max = 0;  ///< at most so many; 0: no entry, but a barrier, so that a key may have been overtaken
    std::string why = {};           ///< "the server remembers 10 spills fewer of shard 3 than it confirmed"
};

struct StreamBufferOptions {
    /// Which buffer on this server; letters, digits, '-' and '_'. Publishers and replayers that share one say the same.
    std::string name = "default";
    /// Streams it is spread over; a key lives in one of them. Everybody who uses the buffer must say the same number.
    std::uint32_t shards = 4;
    /// Packed bytes that may wait here, over all shards; more is refused. 0: as much as the server takes.
    std::uint64_t bytes_max = std::uint64_t{4} << 30U;
    /// Replicas that must have a spill before it is accepted (WAIT). 0: none.
    std::uint32_t wait_replicas = 0;
    std::chrono::milliseconds wait_timeout{100};
    /// What to believe where the server does not show its settings (CONFIG refused).
    std::optional<degradation::Loss> declared = {};
    std::chrono::milliseconds reader_lease{10'000};         ///< a reader that is silent for longer loses its shards
    std::size_t queued_bytes_max = std::size_t{64} << 20U;  ///< of calls that wait for the server; more is refused
    /// Told once of each loss that is noticed, on a thread of the buffer's or of the caller of `inspect`.
    std::function<void(const BufferLoss&)> on_loss = {};
};

/// An entry that the broker rejected, or that waits behind one.
struct ParkedEntry {
    Message message = {};
    std::string reason = {};
};

/// Streams with a consumer group, one per shard, under `hufu:buffer:{NAME:SHARD}:…`, so that each script touches one slot of a
/// cluster. An append and its key's barrier are one script. A reader owns a shard by a lease with a token that each of its
/// writes carries; a new owner takes over, in order, what the old one had read and not trimmed.
///
/// What it may lose is as that Redis is configured; `inspect` reads it and says why. Counters in each shard tell when the
/// server has forgotten entries (restart without its file, eviction, a replica that was behind): `on_loss` then has the number.
///
/// A spill whose answer was lost is `in_doubt`: spilled again it is there twice at most, in order.
///
/// Thread-safe. Borrows the client, whose `command_timeout` bounds every wait. Two threads of its own.
class StreamBuffer final : public degradation::Buffer {
public:
    /// Throws `Exception` (`invalid_argument`) for a name with other characters and for 0 or more than 1,024 shards.
    explicit StreamBuffer(Client& client, StreamBufferOptions options = {});
    ~StreamBuffer() override;

    [[nodiscard]] std::string describe() const override;
    [[nodiscard]] Result<degradation::LossStatement> inspect() override;
    void spill(std::span<const Message> messages, degradation::SpillWhen when, std::span<degradation::SpillOutcome> outcomes,
               Done done) override;
    void epoch(OnEpoch on_epoch) override;
    [[nodiscard]] Result<degradation::BufferSize> size() override;
    [[nodiscard]] Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override;
    [[nodiscard]] std::unique_ptr<degradation::BufferReader> reader(std::string name) override;

    /// What is parked, oldest first per shard, at most `max`.
    [[nodiscard]] Result<std::vector<ParkedEntry>> parked(std::size_t max);
    /// Puts parked entries back to be replayed, key by key, and lifts those keys' bars. A key of which something still waits
    /// unread stays parked (it would be overtaken): replay first. Returns how many went back.
    [[nodiscard]] Result<std::uint64_t> unpark() override;
    [[nodiscard]] Result<void> browse(Shelf shelf, const std::function<bool(const degradation::Entry&)>& see) override;

    struct Impl;  // shared with its readers

private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::redis
