#include "log/chores.hpp"

#include <algorithm>

#include "log/links.hpp"

namespace hufu::broker {

void PrepareChore::run() {
    for (const auto& name : forgotten_) {
        if (auto file = directory_.open(name, OpenMode::read_only)) (*file)->forget_cached();
    }
    result = prepare();
    if (!result) static_cast<void>(directory_.remove(segment_name(base_)));  // give the space back; the first error counts
}

Result<std::shared_ptr<File>> PrepareChore::prepare() {
    const auto name = segment_name(base_);
    auto opened = directory_.open(name, OpenMode::create_new);
    if (!opened && opened.error().code() == ErrorCode::conflict) {
        // Left by an earlier attempt. Its content was never acknowledged; only a new file is known to be empty.
        if (auto removed = directory_.remove(name); !removed) return removed.error();
        if (auto synced = directory_.sync(); !synced) return synced.error();
        opened = directory_.open(name, OpenMode::create_new);
    }
    if (!opened) return opened.error();
    std::shared_ptr<File> file{std::move(*opened)};
    if (auto allocated = file->preallocate(capacity_); !allocated) return allocated.error();
    if (auto synced = file->sync_data(); !synced) return synced.error();
    if (auto synced = directory_.sync(); !synced) return synced.error();
    return file;
}

void KeysChore::run() {
    if (keys_ != nullptr) {
        result = write_keys(directory_, segment_, *keys_);
        return;
    }
    auto rebuilt = rebuild();
    result = rebuilt ? write_keys(directory_, segment_, std::move(*rebuilt)) : Result<void>{rebuilt.error()};
}

Result<SegmentKeys> KeysChore::rebuild() {
    SegmentKeys keys;
    std::vector<std::uint64_t> of_record;
    const auto visit = [&](const GroupHeader& group, const ScannedRecord& record) {
        keys.add_mark(group.log_offset - segment_.base);
        if (!record.intact) return;
        const auto queued = queued_record(record, segment_.base);
        if (!queued) return;
        of_record.clear();
        if (queued->entry.is_message())
            keys_of_(record.bytes, of_record);
        else
            append_keys(queued->keys, of_record);
        for (const auto key : of_record)
            keys.entries.push_back({key, queued->entry.position, static_cast<std::uint32_t>(queued->stored_at_ms / 1000)});
    };
    auto file = directory_.open(segment_name(segment_.base), OpenMode::read_only);
    if (!file) return file.error();
    const Scan scan{.base = segment_.base, .from = segment_.base, .limit = segment_.end, .trusted_to = segment_.end};
    // Damage is told by those who read the records.
    if (auto scanned = scan_segment(**file, scan, visit, [](std::uint64_t, std::uint64_t) {}); !scanned)
        return scanned.error();
    return keys;
}

void ReadBackChore::run() {
    const Scan scan{.base = base_, .from = base_, .limit = end_, .trusted_to = end_, .bypass_cache = true};
    const auto visit = [this](const GroupHeader&, const ScannedRecord& record) {
        if (!record.intact)
            damages.push_back(
                {record.log_offset, record.entry.size, "a record acknowledged before a failed sync is damaged"});
    };
    const auto lost = [this](std::uint64_t log_offset, std::uint64_t bytes) {
        damages.push_back({log_offset, bytes, "a group acknowledged before a failed sync does not verify on the disk"});
    };
    auto scanned = scan_segment(*file_, scan, visit, lost);
    if (!scanned) result = scanned.error();
}

void RemoveChore::run() {
    for (const auto& name : names) {
        auto removed = directory_.remove(name);
        if (!removed && removed.error().code() != ErrorCode::not_found) result = removed.error();
    }
    if (auto synced = directory_.sync(); !synced) result = synced.error();
}

}  // namespace hufu::broker
