// The durable log of the bundled broker: one sequence of records, made durable group by group.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/file.hpp>

namespace hufu::broker {

/// Appends the keys by which a stored record shall be found to `keys`: the same ones it was appended with.
using KeyExtractor = std::function<void(std::span<const std::byte> record, std::vector<std::uint64_t>& keys)>;

struct LogOptions {
    std::uint64_t segment_bytes = 64ULL << 20U;       ///< size of one file of the log
    std::uint64_t first_segment_bytes = 4ULL << 20U;  ///< size of the first one, so that a new store starts at once
    std::uint64_t record_bytes_max = (4ULL << 20U) + (128ULL << 10U);
    std::uint64_t pending_bytes_max = 8ULL << 20U;  ///< what may wait for the disk; then appends are refused with `busy`
    std::uint32_t groups_in_flight_max = 2;
    std::uint64_t next_group_bytes_min = 0;  ///< a group with less grows on while another one is on its way
    std::uint32_t link_segments_max = 4;     ///< a link leads at most so many segments back; as many outlive their time
    std::uint64_t cached_past_bytes = 128ULL << 20U;  ///< the newest sealed segments that stay in the page cache
    std::chrono::milliseconds chore_retry{200};       ///< wait before a failed background step is tried again
    KeyExtractor keys_of = {};                        ///< to rebuild the key index from records; empty: none is kept
};

/// Names one queue (topic and number) for the life of the Log object.
struct QueueHandle {
    std::uint32_t value = 0;
    friend auto operator<=>(QueueHandle, QueueHandle) = default;
};

/// What an append was given. Not durable until an `Outcome` covers the ticket.
struct Appended {
    std::uint64_t ticket = 0;        ///< ascending over all appends and state changes
    std::uint64_t queue_offset = 0;  ///< position in its queue
    std::uint64_t log_offset = 0;    ///< position in the log (`physicalOffset` of the record)
    std::uint64_t stored_at_ms = 0;  ///< `storeTimestamp` of the record
};

/// The message that a link shall lead to: its queue, and its two offsets as `Appended` or `QueueEntry` gave them.
struct LinkTarget {
    QueueHandle queue;
    std::uint64_t queue_offset = 0;
    std::uint64_t log_offset = 0;
};

/// A stored mark.
struct Mark {
    QueueHandle queue;
    std::uint64_t queue_offset = 0;
    std::uint64_t stored_at_ms = 0;
    std::vector<std::byte> payload;
};

/// The fate of every ticket up to `through` that no earlier outcome covered. Tickets are settled strictly in order.
struct Outcome {
    std::uint64_t through = 0;  ///< 0: nothing was settled
    bool durable = false;       ///< true: on disk. false: refused; the record may be found after a crash, never before
    Error error = {};           ///< why it was refused
};

/// Limits of one read. At least one record is returned when one matches, however large.
struct ReadLimits {
    std::uint32_t records_max = 32;
    std::uint64_t bytes_max = 256U << 10U;
    std::uint32_t scan_max = 800;                  ///< records looked at, matching or not
    std::uint64_t examined_bytes_max = 4U << 20U;  ///< bytes of records that `ReadFilter::by_record` looks at
};

enum class ReadStatus : std::uint8_t {
    found,     ///< at least one record
    no_match,  ///< records were passed over (filtered, or damaged); go on at `next_offset`
    at_end,    ///< offset is the next one to be written: wait
    beyond,    ///< offset is above the end; `next_offset` is the end
    below,     ///< offset is older than what is kept; `next_offset` is the first kept
};

struct ReadResult {
    ReadStatus status = ReadStatus::at_end;
    std::uint64_t next_offset = 0;  ///< where the next read should begin
    std::uint64_t min_offset = 0;   ///< first offset kept
    std::uint64_t max_offset = 0;   ///< next offset to become readable
    std::uint32_t records = 0;
    std::uint32_t damaged = 0;  ///< records passed over because their bytes do not match their checksum
};

enum class EntryKind : std::uint8_t { message, link, mark };

/// What the index of a queue says of one record.
struct QueueEntry {
    std::uint64_t queue_offset = 0;
    std::uint64_t log_offset = 0;  ///< of a link: its own
    std::uint32_t size = 0;        ///< of a link: the message's
    std::int64_t tags_code = 0;
    EntryKind kind = EntryKind::message;
};

/// Accepts or refuses a record by its tag code. Empty function: accepts all.
using TagFilter = std::function<bool(std::int64_t tags_code)>;

/// Accepts or refuses a record in two stages: what the index says of it, then its bytes. Empty functions accept all.
struct ReadFilter {
    TagFilter by_code;
    std::function<bool(std::span<const std::byte> record)> by_record;
};

enum class TimeBoundary : std::uint8_t { lower, upper };

/// What to look for in the key index.
struct KeyQuery {
    std::uint64_t key = 0;
    std::uint64_t from_ms = 0;  ///< stored at or after
    std::uint64_t to_ms = std::numeric_limits<std::uint64_t>::max();
    std::size_t hits_max = 64;
};

struct KeyHits {
    std::vector<std::uint64_t> log_offsets;  ///< newest first
    std::size_t segments_missing = 0;        ///< their key index is still being rebuilt: what they hold was not found
};

/// A part of the log whose bytes do not match their checksum. It is never served.
struct Damage {
    std::uint64_t log_offset = 0;
    std::uint64_t bytes = 0;
    std::string text;
};

/// What opening found.
struct LogRecovery {
    std::uint64_t epoch = 0;  ///< of this opening
    std::uint64_t segments = 0;
    std::uint64_t replayed_bytes = 0;  ///< of the last segment
    std::uint64_t replayed_records = 0;
    std::uint64_t rebuilt_indexes = 0;
    bool tail_cut = false;  ///< bytes of an unfinished group were found behind the end and dropped
};

/// A group on its way to the disk. Owned by the Log.
class LogGroup;

/// A piece of background work (preparing the next segment, writing an index, reading back after a failure).
/// `run` may be called on any one thread, beside everything else; then hand it back to `Log::finished`.
class LogChore {
public:
    virtual ~LogChore() = default;
    virtual void run() = 0;
};

/// The log.
///
/// It owns no thread: a shell (LogWriter, or a simulation) takes groups and chores and performs them.
/// Threads: every member function belongs to one owner thread, except the static `write` and `sync` (any thread, one
/// call per group at a time) and `LogChore::run`.
/// Lifetime: borrows `directory` and `clock` for its life. Destroy it only when no group or chore is being performed.
/// Delivery: what an `Outcome` called durable survives power loss, in order; readers never see anything else. What was
/// appended and not settled may or may not survive, always as a prefix.
/// Errors: a failed write or sync refuses everything unsettled and closes ("fences") the log; a chore then reads the
/// tail back from the disk and opens a new segment, and appends are taken again. A full disk refuses appends with
/// `out_of_space` until a chore found space.
class Log {
public:
    /// Locks the folder, recovers, and starts a new epoch. Errors: `busy` (another broker has the folder), `io`,
    /// `out_of_space`, `corrupt` (the newest state cannot be read), `wrong_version`.
    static Result<std::unique_ptr<Log>> open(Directory& directory, const LogOptions& options, Clock& clock);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    [[nodiscard]] const LogRecovery& recovery() const noexcept;
    /// Damage found so far, oldest first.
    [[nodiscard]] const std::vector<Damage>& damages() const noexcept;

    // Queues.

    /// The queue's handle; makes the queue on first use. Handles are dense from 0.
    QueueHandle open_queue(std::string_view topic, std::int32_t queue_id);
    [[nodiscard]] std::optional<QueueHandle> find_queue(std::string_view topic, std::int32_t queue_id) const;
    [[nodiscard]] std::uint32_t queue_count() const noexcept;
    struct QueueName {
        std::string_view topic;
        std::int32_t queue_id;
    };
    [[nodiscard]] QueueName queue_name(QueueHandle queue) const;
    [[nodiscard]] std::uint64_t min_offset(QueueHandle queue) const;
    /// One above the last readable (durable) record.
    [[nodiscard]] std::uint64_t max_offset(QueueHandle queue) const;

    // Appending.

    /// Copies the record (the concatenated `parts`, layout in log_record.hpp, `totalSize` and `queueId` set) into the
    /// pending group and writes queueOffset, physicalOffset and storeTimestamp into the copy.
    /// Errors: `busy` (retry; the disk is behind), `out_of_space` (retry), `fenced` (retry; after a failed sync),
    /// `too_large`, `invalid_argument` (reject). Nothing is left behind by an error.
    /// `keys`: what the record can be found by (`find_key`); hashes, spread evenly, the same ones `keys_of` gives.
    Result<Appended> append(QueueHandle queue, std::int64_t tags_code, std::span<const std::span<const std::byte>> parts,
                            std::span<const std::uint64_t> keys = {});
    Result<Appended> append(QueueHandle queue, std::int64_t tags_code, std::span<const std::byte> record,
                            std::span<const std::uint64_t> keys = {});

    /// Puts the message at `target` into `queue` once more, by a small record that leads to it. Durable with its own group,
    /// never before its target, which may still be pending. Readers get the target's bytes with this queue's offset, with
    /// the link's storeTimestamp, sysFlag's transaction bits saying "committed", and the target's log offset as
    /// preparedTransactionOffset; physicalOffset is the target's still.
    /// Errors: those of `append`; `not_found` (reject) when no message stands there (any more), `invalid_argument` when it
    /// is further back than `link_reaches`: copy it then.
    /// `keys` lead to the link, beside those that lead to the target.
    Result<Appended> append_link(QueueHandle queue, std::int64_t tags_code, const LinkTarget& target,
                                 std::span<const std::uint64_t> keys = {});
    /// Whether a link may lead to this log offset. After `reserve` it stays so for what was reserved.
    [[nodiscard]] bool link_reaches(std::uint64_t log_offset) const noexcept;

    /// Puts up to `mark_payload_max` bytes into `queue`, where they take an offset; readers of messages pass it over.
    /// Found by its keys, or by its tag code (`for_each_entry`). The same errors as `append`.
    Result<Appended> append_mark(QueueHandle queue, std::int64_t tags_code, std::span<const std::byte> payload,
                                 std::span<const std::uint64_t> keys = {});

    static constexpr std::size_t mark_payload_max = 64;
    static constexpr std::size_t link_keys_max = 256;  ///< of a link or mark
    /// What they take, for `reserve`.
    [[nodiscard]] static std::uint64_t link_bytes(std::size_t keys) noexcept;
    [[nodiscard]] static std::uint64_t mark_bytes(std::size_t payload, std::size_t keys) noexcept;

    /// Makes sure that the next appends and state changes, up to `records` of them with `bytes` in all, share one group:
    /// after a crash all of them are there, or none. No group may be taken in between. The same errors as `append`;
    /// `too_large` when it is more than may ever wait for the disk.
    Result<void> reserve(std::uint64_t bytes, std::uint64_t records);

    /// Sets or removes one entry of the state that rides in the log (topics, groups, consumer offsets). Visible to
    /// `state` at once, durable with its ticket. The same errors as `append`.
    Result<std::uint64_t> put_state(std::string_view key, std::string_view value);
    Result<std::uint64_t> erase_state(std::string_view key);
    [[nodiscard]] std::optional<std::string_view> state(std::string_view key) const;
    /// Every entry whose key begins with `prefix`, in key order. The log must not be changed meanwhile.
    void for_each_state(std::string_view prefix,
                        const std::function<void(std::string_view key, std::string_view value)>& visit) const;

    // Making durable: take_group, write, sync, then completed or failed, in the order the groups were taken.

    /// The next group to write, or null when there is none, too many are in flight, or the segment is not ready.
    LogGroup* take_group();
    /// One gathered write of the group.
    static Result<void> write(LogGroup& group);
    static Result<void> sync(LogGroup& group);
    /// Both succeeded. The group is gone afterwards.
    Outcome completed(LogGroup* group);
    /// One of them failed. Everything unsettled is refused; groups still in flight must still be handed back.
    Outcome failed(LogGroup* group, const Error& error);

    // Background work: at most one chore is out at a time.

    /// The next chore, or null. Cheap; ask after every `completed`, `failed`, `finished`, and now and then.
    std::unique_ptr<LogChore> take_chore();
    /// Takes a performed chore back. May refuse what is pending (full disk).
    Outcome finished(std::unique_ptr<LogChore> chore);
    /// When a failed chore is due again; nothing while none waits.
    [[nodiscard]] std::optional<SteadyTime> next_chore_at() const noexcept;

    /// True when something waits for the disk (a group pending or in flight).
    [[nodiscard]] bool busy() const noexcept;
    /// True when it is time to stop reading requests: half of what may wait is waiting, or appends are refused.
    [[nodiscard]] bool congested() const noexcept;
    /// False when a burst that can wait should: the next segment is still being prepared and the active one is half full, so
    /// that the rest of it is wanted for whoever cannot wait.
    [[nodiscard]] bool roomy() const noexcept;
    /// Set while appends are refused (failed write or sync, full disk): what they get.
    [[nodiscard]] const std::optional<Error>& refusing() const noexcept;
    [[nodiscard]] std::uint64_t durable_offset() const noexcept;  ///< log offset below which all is durable
    [[nodiscard]] std::uint64_t bytes_on_disk() const noexcept;
    /// Everything appended so far lies below this log offset, everything appended later at or above it.
    [[nodiscard]] std::uint64_t end_offset() const noexcept;
    [[nodiscard]] std::uint64_t start_offset() const noexcept;  ///< log offset of the oldest record kept, at most

    // Reading. Stops at the durable watermark.

    /// Appends matching records of the queue from `offset` on to `out`, back to back. Marks are passed over, and so are links
    /// whose target was given up with its segment.
    ReadResult read(QueueHandle queue, std::uint64_t offset, const ReadLimits& limits, const ReadFilter& filter,
                    std::vector<std::byte>& out);
    /// Readers see only records of the queue at or above this log offset from now on (until the Log is opened anew).
    void hide_before(QueueHandle queue, std::uint64_t log_offset);
    /// Calls `visit` for every readable record of the queue from `from` on, in order, without reading the records
    /// themselves; ends early when it returns false. Damaged ones are left out. The log must not be changed meanwhile.
    void for_each_entry(QueueHandle queue, std::uint64_t from, const std::function<bool(const QueueEntry&)>& visit);
    /// `lower`: the first offset stored at or after `time`; `upper`: the last one stored at or before. Later than all:
    /// `max_offset`; earlier than all: `min_offset`.
    std::uint64_t offset_at(QueueHandle queue, SystemTime time, TimeBoundary boundary);
    /// When the record was stored (milliseconds since 1970 UTC); `not_found` outside of what is readable.
    Result<std::uint64_t> stored_at_ms(QueueHandle queue, std::uint64_t offset);

    /// Where readable records with this key stand, newest first. Another record may share a hash, and times count in
    /// seconds: look at each record.
    KeyHits find_key(const KeyQuery& query);
    /// Appends the message that begins at `log_offset` to `out`, or that the link there leads to. `not_found` when none does, or none that is readable:
    /// any number may be asked for. `corrupt` when it does not match its checksum.
    Result<QueueHandle> read_at(std::uint64_t log_offset, std::vector<std::byte>& out);
    /// The mark that begins at `log_offset`; the same errors.
    Result<Mark> read_mark(std::uint64_t log_offset);

    // Retention.

    /// Drops whole sealed segments, oldest first, while the log is larger than `bytes_max` (0: no limit) or their
    /// newest record is older than `keep_after`. The files go away by a chore, after the new start is durable.
    /// Returns the number of segments given up.
    std::size_t drop_segments(std::uint64_t bytes_max, std::optional<SystemTime> keep_after);
    /// The same in two steps: what would go ends at this log offset (at or below `start_offset`: nothing would). Of what
    /// has expired, up to `link_segments_max` segments stay while links in what has not lead there. Then, before anything
    /// else is linked,
    [[nodiscard]] std::uint64_t end_of_expired(std::uint64_t bytes_max, std::optional<SystemTime> keep_after) const;
    /// drop the segments that end there or before.
    std::size_t drop_before(std::uint64_t log_offset);
    /// First offset of the queue at or behind a segment's beginning, as `end_of_expired` gives it.
    [[nodiscard]] std::uint64_t offset_behind(QueueHandle queue, std::uint64_t log_offset) const;

private:
    struct Impl;
    explicit Log(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::broker
