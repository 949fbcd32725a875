// Where messages wait while the broker is away: a rung of the ladder, and the one who takes them out again.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/consumer_machine.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>

namespace hufu::degradation {

/// What a crash of the buffer may take of what it accepted, ascending.
enum class Loss : std::uint8_t {
    nothing,      ///< on disk, synced, before it is accepted
    last_second,  ///< synced once a second
    everything,   ///< kept in memory only, or it may be evicted
};
[[nodiscard]] std::string_view to_string(Loss loss) noexcept;
/// Reads "nothing", "last_second", "everything".
[[nodiscard]] Result<Loss> parse_loss(std::string_view text);

/// What a buffer says of itself, read from its settings.
struct LossStatement {
    Loss loss = Loss::everything;
    std::string why = {};  ///< for people: "appendfsync everysec: up to one second"
};

enum class SpillWhen : std::uint8_t {
    always,
    if_key_is_buffered,  ///< only behind earlier entries of the message's key; otherwise `not_buffered`
};

struct SpillOutcome {
    enum class Status : std::uint8_t {
        in_doubt,      ///< it may be in the buffer or not; spilling it again, or into a later rung, keeps the order
        spilled,       ///< held as durably as `inspect` said, its key's barrier is up
        not_buffered,  ///< asked for `if_key_is_buffered`, and the buffer holds nothing of the key
        refused,       ///< certainly not in the buffer; see the error
    } status = Status::in_doubt;
    Error error = {};  ///< meaningful for `in_doubt` and `refused`
};

/// The place of an entry in its buffer.
struct EntryId {
    std::uint32_t shard = 0;
    std::string position = {};  ///< the buffer's own notation; opaque to others
    friend auto operator<=>(const EntryId&, const EntryId&) = default;
};

struct Entry {
    EntryId id = {};
    Message message = {};
    SystemTime spilled_at = {};
    std::uint32_t deliveries = 0;  ///< how often it is known to have been read before; what a crash left unnoted is missing
    std::string reason = {};       ///< of a parked one: why
};

struct BufferSize {
    std::uint64_t entries = 0;  ///< parked ones are not among them
    std::uint64_t bytes = 0;
    std::uint64_t parked = 0;
    std::optional<std::chrono::milliseconds> oldest_age = {};  ///< of the entries; empty when there are none
};

class BufferReader;

/// A rung of the ladder. Thread-safe.
///
/// Order: a key is (topic, ordering key), the latter not empty. Entries of one key are kept in the order in which `spill`
/// was called with them. From the first spill of a key until its last entry was trimmed the key is barred: everybody who
/// shares the buffer sees it in `epoch` and queues behind.
///
/// The destructor ends what is in flight as `in_doubt` and calls every callback before it returns. Readers end before it.
class Buffer {
public:
    /// Called exactly once, from any thread (also from inside the call), when every outcome is final. Must not throw.
    using Done = std::function<void()>;
    using OnEpoch = std::function<void(Result<std::uint64_t>)>;

    virtual ~Buffer() = default;

    /// For people, without secrets: "redis://10.0.0.7:6379/0".
    [[nodiscard]] virtual std::string describe() const = 0;

    /// Reads the settings that decide what may be lost; at start, from time to time and after every reconnect. Blocks for a
    /// round trip.
    [[nodiscard]] virtual Result<LossStatement> inspect() = 0;

    /// Starts appending `messages`; `outcomes[i]` belongs to `messages[i]`, both are borrowed until `done` was called. The
    /// barrier of a key goes up atomically with its entry. Once a message of a key is not spilled, later ones of that key in
    /// the same call are not spilled either. Never blocks longer than it takes to queue. Several calls may be in flight.
    virtual void spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) = 0;

    /// 0: nobody has a key barred here. Read after the call began, so it sees what was spilled before; concurrent calls may
    /// share one read.
    virtual void epoch(OnEpoch on_epoch) = 0;

    /// Blocks for a round trip.
    [[nodiscard]] virtual Result<BufferSize> size() = 0;

    /// Whether each key has entries here (parked ones count). Blocks for a round trip.
    [[nodiscard]] virtual Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) = 0;

    enum class Shelf : std::uint8_t { waiting, parked };
    /// Shows entries without taking them, in order per key, until `see` returns false. What is spilled or trimmed meanwhile
    /// may be shown or not. Blocks.
    [[nodiscard]] virtual Result<void> browse(Shelf shelf, const std::function<bool(const Entry&)>& see);

    /// Puts back everything that was set aside, in order per key, and returns how much. Readers that are at work may see it
    /// only after their next `release`. Blocks.
    [[nodiscard]] virtual Result<std::uint64_t> unpark();

    /// `name` tells readers of one buffer apart, across processes. The reader borrows the buffer.
    [[nodiscard]] virtual std::unique_ptr<BufferReader> reader(std::string name) = 0;
};

/// Takes entries out. One thread may `read` while another one trims; beside `park` and `release` nothing else runs. Several
/// readers of one buffer are safe: each owns shards by a fenced lease, and a key lives in one shard.
class BufferReader {
public:
    virtual ~BufferReader() = default;

    /// Up to `max` entries that are not under way here, in order per key, what a dead reader had taken first; waits until
    /// there is one or `timeout` passed (empty). An entry that was neither trimmed nor parked comes again after `release`.
    [[nodiscard]] virtual Result<std::vector<Entry>> read(std::size_t max, std::chrono::milliseconds timeout) = 0;

    /// Removes entries whose messages the broker has confirmed, and lowers the barriers of keys that have none left. Returns
    /// how many were removed: 0 for those of a shard that another reader owns meanwhile.
    [[nodiscard]] virtual Result<std::size_t> trim(std::span<const EntryId> entries) = 0;

    /// Sets aside what the broker rejected, for a person to look at. The key stays barred.
    [[nodiscard]] virtual Result<void> park(std::span<const EntryId> entries, std::string_view reason) = 0;

    /// Gives up the shards; other readers may have them at once.
    virtual Result<void> release() = 0;
};

}  // namespace hufu::degradation
