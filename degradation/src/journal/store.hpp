// The journal's files: what is written, what is left after a crash, what may be removed. Blocks; owns no thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/file.hpp>
#include <hufu/degradation/journal.hpp>

#include "journal/format.hpp"
#include "journal/ranges.hpp"

namespace hufu::degradation::journal {

/// An entry that is in the journal, with what its removal needs.
struct Reference {
    std::uint64_t sequence = 0;
    std::uint64_t key = 0;
    std::uint64_t bytes = 0;
};

/// What one sync is to make durable.
struct Batch {
    std::vector<std::string> entries = {};  ///< payloads
    struct Mark {
        FrameKind kind = FrameKind::trim;
        std::vector<Reference> entries = {};
        std::string reason = {};
    };
    std::vector<Mark> marks = {};
};

/// An entry as it stands in the files.
struct StoredEntry {
    Reference reference = {};
    std::string payload = {};
};

/// Where reading goes on. Begins at the beginning.
struct Cursor {
    std::uint64_t sequence = 0;  ///< nothing below it is read
    std::uint32_t segment = 0;   ///< where that may stand: a group's begin
    std::uint64_t position = 0;
    std::uint32_t group_before = 0;
};

/// `write` is for one thread at a time; everything else may be called beside it.
///
/// Durability: what `write` calls written has been synced. After a failed sync the segment is fenced: it ends, for ever,
/// where the last good sync left it, and writing goes on in a new one whose snapshot says so.
class Store {
public:
    /// Takes the lock of the folder and reads what is there; writes nothing. Borrows the folder for its life.
    static Result<std::unique_ptr<Store>> open(Directory& folder, const JournalOptions& options);

    struct Written {
        Result<void> result = {};
        bool certain = true;  ///< after an error: nothing of the batch is in the journal, nor will be
    };
    /// The entries of the batch get the next sequences in order.
    [[nodiscard]] Written write(const Batch& batch);

    enum class Kind : std::uint8_t { live, parked };
    /// Entries from the cursor on, which moves behind them: whole groups until there are `enough`; few or none only at the
    /// end.
    [[nodiscard]] Result<std::vector<StoredEntry>> read(Cursor& cursor, std::size_t enough, Kind kind = Kind::live) const;

    struct Levels {
        std::uint64_t entries = 0;
        std::uint64_t bytes = 0;
        std::uint64_t parked = 0;
        std::uint64_t disk_bytes = 0;
        std::uint64_t keys = 0;  ///< that are barred
    };
    [[nodiscard]] Levels levels() const;
    [[nodiscard]] bool holds(std::uint64_t key) const;
    /// When the oldest entry was spilled, to the second.
    [[nodiscard]] std::optional<SystemTime> oldest() const;
    [[nodiscard]] std::string reason_of_parked(std::uint64_t sequence) const;
    [[nodiscard]] std::uint64_t given_up() const noexcept { return given_up_; }

private:
    struct Segment {
        std::uint32_t number = 0;
        std::shared_ptr<File> file = {};
        std::uint64_t end = 0;    ///< bytes that count
        std::uint64_t first = 0;  ///< sequence of the first entry, also if there is none
        std::uint64_t next = 0;   ///< one behind the last entry
    };

    Store(Directory& folder, const JournalOptions& options) : folder_{folder}, options_{options} {}

    // Opening (recovery.cpp).
    [[nodiscard]] Result<void> recover();
    [[nodiscard]] Result<bool> adopt_newest(std::uint32_t number, bool only);
    [[nodiscard]] Result<void> adopt_sealed(const Snapshot& snapshot, const std::vector<std::uint32_t>& numbers);
    [[nodiscard]] Result<void> count_entries(Segment& segment);
    [[nodiscard]] bool apply(const FrameView& frame, Segment& segment);
    [[nodiscard]] Error damaged(std::uint32_t segment, std::uint64_t position, const std::string& what) const;
    void give_up(std::uint64_t first, std::uint64_t next, const Ranges& seen);

    // Writing; the caller of `write`.
    [[nodiscard]] Result<void> ensure_segment(bool only_marks);
    [[nodiscard]] Result<void> begin_segment();
    [[nodiscard]] Result<void> append(std::string group);
    [[nodiscard]] std::string group_of(const Batch& batch) const;
    void applied(const Batch& batch, std::uint64_t bytes);
    void note_age(std::uint64_t sequence, SystemTime spilled_at);
    void drop_dead_segments();
    void prepare_reserve();

    Directory& folder_;
    const JournalOptions options_;
    std::unique_ptr<DirectoryLock> lock_;
    std::uint32_t group_ = 0;             // number used last in the active segment; writer only
    std::uint32_t last_number_ = 0;       // of a segment, also of one that came to nothing; writer only
    bool fenced_ = false;                 // the active segment takes nothing more; writer only
    bool active_ = false;                 // the last segment was begun by this object; writer only
    bool has_reserve_ = false;            // writer only
    std::vector<std::string> leftovers_;  // files without anything that counts; writer only
    std::uint64_t given_up_ = 0;          // constant after opening
    std::optional<Snapshot> newest_;      // of the newest segment, while opening

    mutable std::mutex mutex_;
    std::vector<Segment> segments_;                          // guarded by mutex_; ascending
    std::uint64_t next_sequence_ = 1;                        // guarded by mutex_
    Ranges live_;                                            // guarded by mutex_
    std::map<std::uint64_t, std::string> parked_;            // guarded by mutex_; sequence -> reason
    std::unordered_map<std::uint64_t, std::uint32_t> keys_;  // key -> its entries and parked ones; guarded by mutex_
    std::uint64_t bytes_ = 0;                                // of live entries; guarded by mutex_
    std::map<std::uint64_t, SystemTime> ages_;               // of some entries, a second apart at most; guarded by mutex_
};

}  // namespace hufu::degradation::journal
