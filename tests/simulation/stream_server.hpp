// The Redis that the ladder's shared buffer stands on: what the scripts of adapters/redis do, shard by shard.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <hufu/degradation/buffer.hpp>

#include "event_queue.hpp"
#include "ladder_ledger.hpp"

namespace hufu::simulation {

/// One server. Every call here is one step on it; `StreamLink` carries calls and answers.
class StreamServer {
public:
    using Loss = degradation::Loss;
    static constexpr std::chrono::milliseconds lease{900};
    static constexpr std::size_t shard_count = 2;

    struct Stored {
        Message message;
        SystemTime spilled_at;
    };
    struct Shard {
        std::map<std::uint64_t, Stored> entries;  ///< by position
        std::map<std::uint64_t, Stored> parked;
        std::map<std::string, int> keys;    ///< entries and parked ones of each key: the barrier
        std::map<std::string, int> barred;  ///< parked ones of each key
        std::string owner;
        SteadyTime owned_until{};
        std::uint64_t fence = 0;
        std::uint64_t spilled = 0;
    };

    /// `loss`: `nothing` syncs with every write, `last_second` once a second.
    StreamServer(EventQueue& events, LadderLedger& ledger, Loss loss);

    [[nodiscard]] static std::size_t shard_of(const Message& message);
    [[nodiscard]] static std::string key_of(const Message& message);
    [[nodiscard]] degradation::LossStatement inspect() const;
    [[nodiscard]] std::uint64_t epoch() const;
    [[nodiscard]] degradation::BufferSize size() const;
    [[nodiscard]] std::vector<degradation::SpillOutcome> spill(const std::vector<Message>& messages,
                                                               degradation::SpillWhen when);
    [[nodiscard]] std::vector<bool> holds(const std::vector<ConsumerKey>& keys) const;
    [[nodiscard]] std::vector<Message> parked() const;
    std::uint64_t unpark();

    /// The token of the shard for `name`; nothing while another one has it. `former`: the last token of the same reader.
    std::optional<std::string> acquire(std::size_t shard, const std::string& name, const std::string& former);
    /// Up to `max` entries behind position `behind`. What stands behind a parked one of its key is parked at once. Nothing:
    /// the shard has another owner.
    std::optional<std::vector<degradation::Entry>> read(std::size_t shard, const std::string& token, std::uint64_t behind,
                                                        std::size_t max);
    std::optional<std::size_t> trim(std::size_t shard, const std::string& token,
                                    const std::vector<std::uint64_t>& positions);
    std::optional<std::size_t> park(std::size_t shard, const std::string& token,
                                    const std::vector<std::uint64_t>& positions);
    void release(std::size_t shard, const std::string& token);

    // Harm.
    void refuse_connections(EventQueue::Duration how_long) { refuses_until_ = events_.now() + how_long; }
    void keep_silent(EventQueue::Duration how_long) { silent_until_ = events_.now() + how_long; }
    /// The machine is off for a while. What was not synced is gone: entries, trims, leases.
    void crash(EventQueue::Duration how_long);
    void heal();
    [[nodiscard]] bool refuses() const { return events_.now() < refuses_until_; }
    [[nodiscard]] bool is_silent() const { return events_.now() < silent_until_; }
    [[nodiscard]] bool healed() const { return healed_; }

private:
    [[nodiscard]] bool owns(const Shard& shard, const std::string& token) const;
    [[nodiscard]] bool prolong(Shard& shard, const std::string& token);
    void set_aside(Shard& shard, std::uint64_t position);
    void sync_every_second();

    EventQueue& events_;
    LadderLedger& ledger_;
    const Loss loss_;
    std::vector<Shard> shards_{shard_count};
    std::vector<Shard> synced_{shard_count};
    std::uint64_t last_position_ = 0;  // they come from a clock, so none comes twice
    SteadyTime refuses_until_{};
    SteadyTime silent_until_{};
    bool healed_ = false;
};

}  // namespace hufu::simulation
