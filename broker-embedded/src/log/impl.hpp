// The insides of the Log: what it remembers, and the steps its parts are made of.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/broker/log.hpp>

#include "log/chores.hpp"
#include "log/format.hpp"
#include "log/group.hpp"
#include "log/index.hpp"
#include "log/keys.hpp"
#include "log/links.hpp"
#include "log/scan.hpp"

namespace hufu::broker {

/// A segment that is not written any more.
struct SealedSegment {
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t newest_ms = 0;
    std::uint64_t oldest_target = no_target;  ///< lowest log offset that one of its links leads to
    std::shared_ptr<File> data;               ///< opened when first read
    std::unique_ptr<File> index;              ///< opened when first read
    std::shared_ptr<SealedIndex> memory;      ///< set until the index file is written
    bool forgotten = false;                   ///< its cached pages were given back
    bool rebuilt = false;                     ///< its index was made anew from the log in this run
    std::shared_ptr<SegmentKeys> key_memory;  ///< set until the keys file is written
    std::unique_ptr<KeyFile> key_file;        ///< opened when first read
    std::uint32_t key_attempts = 0;           ///< so often a rebuild of its keys failed
    bool keys_missing = false;                ///< neither in memory nor in a file that verifies: to be rebuilt
};

/// The part of a queue that stands in one sealed segment.
struct SealedRun {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    SealedSegment* segment = nullptr;
    std::uint64_t position = 0;  ///< of its first entry in the index file
    std::size_t slot = 0;        ///< in `segment->memory->queues`, while that is set
};

struct Queue {
    std::string topic;
    std::int32_t queue_id = 0;
    bool announced = false;          ///< the log holds its name
    std::uint64_t next = 0;          ///< offset of the next append
    std::uint64_t durable_next = 0;  ///< readers stop here
    std::uint64_t hidden_below = 0;  ///< `hide_before`: readers do not see what is older
    std::uint64_t active_first = 0;  ///< offset of active[0]
    std::vector<IndexEntry> active;  ///< in the active segment
    std::vector<SealedRun> runs;     ///< in sealed segments, oldest first
};

/// The first offset that readers may have.
[[nodiscard]] inline std::uint64_t first_kept(const Queue& queue) noexcept {
    const auto first = queue.runs.empty() ? queue.active_first : queue.runs.front().first;
    return std::min(std::max(first, queue.hidden_below), queue.durable_next);
}

/// What the record with the queue's name takes.
[[nodiscard]] inline std::uint64_t name_bytes(const Queue& queue) noexcept {
    return sizeof(std::int32_t) + sizeof(std::uint32_t) + queue.topic.size();
}

/// The segment that is written. Without a file while the next one is still being prepared.
struct ActiveSegment {
    std::uint64_t base = 0;
    std::uint64_t capacity = 0;
    std::shared_ptr<File> file = {};
    bool established = false;  ///< its snapshot is durable, so a recovery would find it
    std::shared_ptr<SyncGate> gate = std::make_shared<SyncGate>();
    SegmentKeys keys = {};
    std::uint64_t oldest_target = no_target;  ///< lowest log offset that one of its links leads to
    [[nodiscard]] std::uint64_t limit() const noexcept { return base + capacity; }
};

struct SegmentPlan {
    std::uint64_t base = 0;
    std::uint64_t capacity = 0;
};

struct Log::Impl {
    Impl(Directory& directory_, const LogOptions& options_, Clock& clock_)
        : directory{directory_}, options{options_}, clock{clock_} {}

    // recovery.cpp
    Result<void> recover();
    Result<void> create_first_segment();
    Result<bool> replay_newest(const std::vector<std::uint64_t>& bases);
    void restore(const Snapshot& snapshot);
    void apply(const ScannedRecord& record);
    void apply_queued(const ScannedRecord& record);
    Result<void> load_sealed(const std::vector<std::uint64_t>& bases);
    Result<void> remove_strangers(const std::vector<std::string>& names);
    Result<void> begin_epoch();

    // log.cpp
    void remember_state(std::string_view key, std::string_view value);
    void forget_state(std::string_view key);

    // append.cpp
    Result<void> make_room(std::uint64_t bytes, std::uint64_t records);
    /// Room for one record of the queue, and for the queue's name where the log does not hold it yet.
    Result<void> make_room_in(QueueHandle handle, std::uint64_t bytes);
    /// Puts the queue's name first, in the same group, where the log does not hold it yet; room was made.
    void announce(QueueHandle handle);
    /// Offset and time of the queue's next record.
    Appended next_place(QueueHandle handle);
    /// Copies a record into the open group; room was made. Returns its bytes; `finish_record` sums them.
    std::span<std::byte> add_record(RecordKind kind, std::uint32_t queue, std::int64_t tags_code,
                                    std::span<const std::span<const std::byte>> parts, std::uint64_t& log_offset);
    void finish_record(std::span<const std::byte> record);
    Result<std::uint64_t> append_system(RecordKind kind, std::string_view payload);
    void open_group();
    void close_group();
    void recycle(std::unique_ptr<LogGroup> group);
    [[nodiscard]] bool open_fits(std::uint64_t bytes, std::uint64_t records) const noexcept;
    std::byte* chunk_space(std::size_t bytes);

    // link_append.cpp
    /// What the index has at `target`, if that is a message.
    Result<IndexEntry> target_entry(const LinkTarget& target);
    Appended append_small(RecordKind kind, QueueHandle handle, const Appended& place,
                          std::span<const std::span<const std::byte>> parts, IndexEntry entry,
                          std::span<const std::uint64_t> keys);

    // segments.cpp
    /// Room for a group of `group_size` bytes behind its snapshot.
    SegmentPlan& plan_next(std::uint64_t group_size = 0);
    void roll(std::uint64_t group_size);
    void seal_active(std::uint64_t end);
    void begin_segment();
    [[nodiscard]] Snapshot make_snapshot() const;
    [[nodiscard]] std::uint64_t snapshot_estimate() const noexcept;
    Outcome refuse_all(const Error& error);
    [[nodiscard]] std::vector<std::string> long_past();
    void reopen_if_ready();
    void forget_memory(SealedSegment& segment);

    // lookup.cpp
    void note_keys(std::uint64_t position, std::span<const std::uint64_t> keys, std::uint64_t stored_ms);
    Result<KeyFile*> key_file(SealedSegment& segment);
    void lose_keys(SealedSegment& segment, const Error& error);
    std::unique_ptr<LogChore> take_key_chore();
    void finish_key_chore(KeysChore& chore);
    /// The segment that `log_offset` is in; nothing when it is in none that is kept. A null segment: the active one.
    std::optional<SealedSegment*> segment_of(std::uint64_t log_offset);
    /// Where a group begins from which one can walk to `position` of the segment.
    std::uint32_t group_below(SealedSegment* segment, std::uint64_t position);
    struct Listed {
        TableEntry entry;
        SealedSegment* segment = nullptr;
    };
    /// What the table of its group says of the record that begins at `log_offset`.
    Result<Listed> find_listed(std::uint64_t log_offset);
    Result<void> read_listed(const Listed& listed, std::uint64_t log_offset, std::vector<std::byte>& out);

    // reading.cpp
    struct Located {
        std::span<const IndexEntry> entries;  ///< from the offset on
        SealedSegment* segment = nullptr;     ///< null: the active one
        std::uint64_t skip_to = 0;            ///< where entries.empty(): the next offset that exists
    };
    /// Log offset of the record; nothing where damage left none.
    std::optional<std::uint64_t> place_of(Queue& queue, std::uint64_t offset);
    Located locate(Queue& queue, std::uint64_t offset, std::uint64_t limit, std::size_t entries_max);
    Result<const File*> data_file(SealedSegment* segment);
    Result<const File*> index_file(SealedSegment& segment);
    void note_opened(SealedSegment* segment);
    Result<void> rebuild_index(SealedSegment& segment);
    Result<std::uint64_t> read_stored_at(QueueHandle queue, std::uint64_t offset);
    [[nodiscard]] std::uint64_t base_of_segment(const SealedSegment* segment) const noexcept {
        return segment != nullptr ? segment->base : active.base;
    }
    void report_damage(std::uint64_t log_offset, std::uint64_t bytes, std::string text);
    std::size_t read_records(const Located& located, std::span<const std::uint32_t> picked, std::uint64_t bytes,
                             const ReadFilter& filter, std::vector<std::byte>& out, std::uint32_t& damaged);

    // link_reading.cpp
    enum class Followed : std::uint8_t { served, damaged, expired };
    /// Appends the message that the link leads to, as readers of the link's queue get it.
    Followed follow(const LinkHead& link, std::vector<std::byte>& out);
    Followed follow(SealedSegment* segment, const IndexEntry& entry, std::vector<std::byte>& out);
    /// One link's part in a `read`.
    void read_link(SealedSegment* segment, const IndexEntry& entry, const ReadFilter& filter, std::vector<std::byte>& out,
                   ReadResult& result);
    std::optional<LinkHead> read_link_head(SealedSegment* segment, const IndexEntry& entry);
    std::optional<std::uint64_t> small_stored_at(SealedSegment* segment, const IndexEntry& entry);
    Result<Mark> read_mark_entry(QueueHandle queue, SealedSegment* segment, const IndexEntry& entry);
    static std::optional<Mark> decode_mark(QueueHandle queue, std::vector<std::byte> record);

    Directory& directory;
    const LogOptions options;
    Clock& clock;
    std::unique_ptr<DirectoryLock> lock;

    LogRecovery recovered;
    std::vector<Damage> damages;

    std::vector<Queue> queues;
    std::map<std::string, std::map<std::int32_t, std::uint32_t>, std::less<>> queue_names;
    std::map<std::string, std::string, std::less<>> state;
    std::uint64_t state_bytes = 0;

    bool of_older_version = false;  ///< the segment that was replayed; nothing is appended to it
    std::uint64_t epoch = 0;
    std::uint64_t last_ticket = 0;
    std::uint64_t last_stored_ms = 0;
    std::uint64_t start = 0;           ///< base of the oldest segment kept
    std::uint64_t durable = 0;         ///< log offset below which all is on disk
    std::uint64_t write_position = 0;  ///< log offset of the next group
    std::uint64_t next_base = 0;       ///< of the segment that is planned next
    std::uint64_t pending_bytes = 0;   ///< in open and closed groups

    ActiveSegment active;
    std::deque<std::unique_ptr<SealedSegment>> sealed;  ///< oldest first
    std::optional<SegmentPlan> plan;
    std::shared_ptr<File> prepared;  ///< the planned segment's file, ready
    std::vector<SealedSegment*> opened;

    std::unique_ptr<LogGroup> open;    ///< takes appends
    std::uint64_t reserved_bytes = 0;  ///< of the open group, promised by `reserve`
    std::uint64_t reserved_records = 0;
    std::uint64_t unannounced = 0;                 ///< queues whose name the log does not hold yet
    std::uint64_t unannounced_bytes = 0;           ///< what their names will take
    std::deque<std::unique_ptr<LogGroup>> closed;  ///< full, or of a segment that was left
    std::deque<std::unique_ptr<LogGroup>> in_flight;
    std::vector<std::unique_ptr<LogGroup>> spare_groups;
    std::vector<Chunk> spare_chunks;

    std::optional<Error> refusing;   ///< set: no append is taken
    std::shared_ptr<File> doubtful;  ///< after a failure: the file to read back before going on
    SegmentSpan doubtful_span;
    bool chore_out = false;
    bool dropping_waits = false;  ///< `unwanted` waits for ticket `dropping_ticket`
    std::uint64_t dropping_ticket = 0;
    std::vector<std::string> unwanted;        ///< files to remove now
    std::vector<std::string> unwanted_later;  ///< files to remove once the new start is durable
    std::optional<SteadyTime> retry_at;

    std::vector<IndexEntry> entry_buffer;
    std::vector<std::uint64_t> key_buffer;
};

}  // namespace hufu::broker
