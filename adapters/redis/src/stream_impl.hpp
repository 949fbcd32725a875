// What a stream buffer and its readers share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <hufu/redis/stream_buffer.hpp>

#include "script.hpp"
#include "stream_scripts.hpp"

namespace hufu::redis {

/// A message's key as the scripts know it; empty without an ordering key.
[[nodiscard]] std::string key_field(std::string_view topic, std::string_view ordering_key);

/// Whether [position, [name, value, …]] is of the shape that the scripts write; else somebody else has put it there.
[[nodiscard]] bool is_entry(const Reply& item);
constexpr const char* no_entry = "no entry of a buffer: something else writes to this stream";

struct Contents {
    Message message = {};  ///< empty where it cannot be read
    std::string reason = {};
};
/// Of one of either stream.
[[nodiscard]] Contents contents_of(const Reply& item);

struct StreamBuffer::Impl {
    /// A call of `spill` that waits for the server.
    struct Call {
        std::span<const Message> messages;
        degradation::SpillWhen when = degradation::SpillWhen::always;
        std::span<degradation::SpillOutcome> outcomes;
        Done done;
        std::size_t bytes = 0;
    };

    Impl(Client& client_, StreamBufferOptions options_);
    ~Impl();

    /// "redis://…, buffer NAME, shard 3", for messages.
    [[nodiscard]] std::string describe_shard(std::uint32_t shard) const;
    [[nodiscard]] std::uint32_t shard_of(const Message& message) const;
    [[nodiscard]] std::uint32_t shard_of(std::string_view field) const;

    void spill(Call call);
    void epoch(OnEpoch on_epoch);
    /// Runs `script` for each of `shards` in one flight; `arguments[i]` belongs to `shards[i]`.
    [[nodiscard]] std::vector<Result<Reply>> run(Script& script, std::span<const std::uint32_t> shards,
                                                 std::span<const std::vector<std::string_view>> arguments);
    /// The same with no arguments or one, for every shard.
    [[nodiscard]] std::vector<Result<Reply>> run_everywhere(Script& script, std::string_view argument = {});
    /// Compares what the server remembers of a shard with what it confirmed here.
    void remember(std::uint32_t shard, std::uint64_t spilled, std::uint64_t added);
    void report(std::uint64_t entries, std::string why) const;

    void carry_spills();
    void carry_epochs();
    void fly(std::vector<Call>& calls);
    void settle(std::vector<Call>& calls, std::uint32_t shard, const Result<Reply>& reply,
                std::span<const std::pair<std::size_t, std::size_t>> places);
    [[nodiscard]] Result<std::uint64_t> read_epoch();

    Client& client;
    const StreamBufferOptions options;
    std::vector<std::string> bases;
    Script spill_script{StreamScripts::spill()};
    Script acquire_script{StreamScripts::acquire()};
    Script hold_script{StreamScripts::hold()};
    Script trim_script{StreamScripts::trim()};
    Script park_script{StreamScripts::park()};
    Script unpark_script{StreamScripts::unpark()};
    Script release_script{StreamScripts::release()};
    Script account_script{StreamScripts::account()};

    std::mutex memory_mutex;
    std::vector<std::uint64_t>
        confirmed;  // guarded by memory_mutex; per shard: spills that the server has counted, as it said

    std::mutex mutex;
    std::condition_variable spill_ready;
    std::condition_variable epoch_ready;
    std::vector<Call> calls;         // guarded by mutex
    std::size_t queued_bytes = 0;    // guarded by mutex
    std::vector<OnEpoch> on_epochs;  // guarded by mutex
    bool stopping = false;           // guarded by mutex
    std::thread spill_thread;
    std::thread epoch_thread;
};

}  // namespace hufu::redis
