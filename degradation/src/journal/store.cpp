#include "journal/store.hpp"

#include <algorithm>
#include <iterator>

#include <hufu/core/assert.hpp>

#include "journal/scanner.hpp"

namespace hufu::degradation::journal {
namespace {

constexpr std::string_view reserve_name = "reserve";

std::span<const std::byte> bytes_of(const std::string& text) noexcept {
    return std::as_bytes(std::span{text.data(), text.size()});
}

Ranges ranges_of(const std::vector<Reference>& references) {
    Ranges ranges;
    for (const Reference& reference : references) ranges.add(reference.sequence);
    return ranges;
}

}  // namespace

Store::Written Store::write(const Batch& batch) {
    const bool only_marks = batch.entries.empty();
    if (auto ready = ensure_segment(only_marks); !ready) return {ready.error(), true};
    std::string group = group_of(batch);
    const std::size_t bytes = group.size();
    auto done = append(std::move(group));
    if (!done && done.error().code() == ErrorCode::out_of_space && only_marks && has_reserve_) {
        // What was replayed must be noted for files to go: this is what the reserve is for.
        has_reserve_ = false;
        if (auto removed = folder_.remove(reserve_name); removed) done = append(group_of(batch));
    }
    if (done) {
        applied(batch, bytes);
        drop_dead_segments();
        return {};
    }
    // Once the new segment's snapshot is durable it says where this one ends: before the batch that failed.
    const bool certain = !fenced_ || begin_segment();
    return {done.error(), certain};
}

Result<void> Store::ensure_segment(bool only_marks) {
    const bool full = active_ && segments_.back().end >= options_.segment_bytes;
    if (active_ && !fenced_ && !full) return {};
    auto begun = begin_segment();
    // Notes may go on in the old one, unless a half-made successor might be taken for the newest after a crash.
    const bool can_go_on = active_ && !fenced_ && only_marks && leftovers_.empty();
    return begun || can_go_on ? Result<void>{} : begun;
}

/// Writes a snapshot of everything into a new file and makes that the one to write to.
Result<void> Store::begin_segment() {
    prepare_reserve();
    for (const auto& name : std::exchange(leftovers_, {})) static_cast<void>(folder_.remove(name));
    Segment segment;
    segment.number = ++last_number_;
    segment.first = segment.next = next_sequence_;
    Snapshot snapshot{.next_sequence = next_sequence_, .live = live_, .parked = parked_};
    for (const Segment& sealed : segments_) {
        snapshot.sealed.push_back({sealed.number, sealed.end, sealed.first, sealed.next});
    }
    std::string group;
    append_frame(group, FrameKind::snapshot, 0, encode(snapshot));
    close_group(group, segment.number, 1);
    const std::string name = segment_name(segment.number);
    const auto fail = [&](const Error& error) {
        if (!folder_.remove(name) || !folder_.sync()) leftovers_.push_back(name);
        return Error{error.code(), error.code() == ErrorCode::out_of_space ? Disposition::retry : error.disposition(),
                     "journal \"" + folder_.path() + "\": no new segment: " + error.text()};
    };
    auto file = folder_.open(name, OpenMode::create_new);
    if (!file) return fail(file.error());
    segment.file = std::move(*file);
    const std::span<const std::byte> part = bytes_of(group);
    if (auto wrote = segment.file->write_at(0, {&part, 1}); !wrote) return fail(wrote.error());
    if (auto synced = segment.file->sync_data(); !synced) return fail(synced.error());
    if (auto synced = folder_.sync(); !synced) return fail(synced.error());
    segment.end = group.size();
    {
        const std::lock_guard lock{mutex_};
        segments_.push_back(std::move(segment));
    }
    active_ = true;
    fenced_ = false;
    group_ = 1;
    drop_dead_segments();
    return {};
}

/// Writes the group and syncs it. An error leaves the segment as it was, or fenced.
Result<void> Store::append(std::string group) {
    const Segment& segment = segments_.back();
    close_group(group, segment.number, ++group_);
    const std::span<const std::byte> part = bytes_of(group);
    if (auto wrote = segment.file->write_at(segment.end, {&part, 1}); !wrote) {
        // Short of space the rest of the group is missing for certain, and a group counts as a whole or not at all.
        const bool harmless = wrote.error().code() == ErrorCode::out_of_space && segment.file->truncate(segment.end);
        fenced_ = !harmless;
        return Error{wrote.error().code(), Disposition::retry,
                     "journal \"" + folder_.path() + "\" takes nothing more: " + wrote.error().text()};
    }
    if (auto synced = segment.file->sync_data(); !synced) {
        fenced_ = true;
        return Error{ErrorCode::fenced, Disposition::retry,
                     "journal \"" + folder_.path() +
                         "\": a sync failed, the segment is closed and a new one begun: " + synced.error().text()};
    }
    return {};
}

std::string Store::group_of(const Batch& batch) const {
    std::string group;
    std::uint64_t sequence = next_sequence_;
    for (const auto& mark : batch.marks) {
        append_frame(group, mark.kind, 0, encode_ranges(ranges_of(mark.entries), mark.reason));
    }
    for (const auto& payload : batch.entries) append_frame(group, FrameKind::entry, sequence++, payload);
    return group;
}

void Store::applied(const Batch& batch, std::uint64_t bytes) {
    const std::lock_guard lock{mutex_};
    for (const auto& mark : batch.marks) {
        for (const Reference& one : mark.entries) {
            switch (mark.kind) {
                case FrameKind::trim:
                    if (live_.remove(one.sequence)) {
                        bytes_ -= one.bytes;
                    } else if (parked_.erase(one.sequence) == 0) {
                        break;
                    }
                    if (const auto key = keys_.find(one.key); key != keys_.end() && --key->second == 0) keys_.erase(key);
                    break;
                case FrameKind::park:
                    if (live_.remove(one.sequence)) {
                        bytes_ -= one.bytes;
                        parked_[one.sequence] = mark.reason;
                    }
                    break;
                case FrameKind::unpark:
                    if (parked_.erase(one.sequence) > 0) {
                        live_.add(one.sequence);
                        bytes_ += one.bytes;
                    }
                    break;
                case FrameKind::entry:
                case FrameKind::snapshot: break;
            }
        }
    }
    for (const auto& payload : batch.entries) {
        const auto facts = facts_of(payload);
        note_age(next_sequence_, facts.spilled_at);
        live_.add(next_sequence_++);
        bytes_ += payload.size();
        if (facts.key != 0) ++keys_[facts.key];
    }
    // Keeps the newest one that is not younger than the oldest entry.
    const auto behind = ages_.upper_bound(live_.at_or_after(0).value_or(next_sequence_));
    if (behind != ages_.begin()) ages_.erase(ages_.begin(), std::prev(behind));
    segments_.back().end += round_up(bytes);
    segments_.back().next = next_sequence_;
}

void Store::drop_dead_segments() {
    std::vector<std::uint32_t> dead;
    {
        const std::lock_guard lock{mutex_};
        const auto is_dead = [&](const Segment& segment) {
            const auto live = live_.at_or_after(segment.first);
            const auto parked = parked_.lower_bound(segment.first);
            return !(live && *live < segment.next) && !(parked != parked_.end() && parked->first < segment.next);
        };
        // Never the last one: it knows what became of the others.
        for (auto at = segments_.begin(); at != segments_.end() && at + 1 != segments_.end();) {
            if (is_dead(*at)) {
                dead.push_back(at->number);
                at = segments_.erase(at);
            } else {
                ++at;
            }
        }
    }
    for (const auto number : dead) static_cast<void>(folder_.remove(segment_name(number)));
}

void Store::prepare_reserve() {
    if (has_reserve_ || options_.reserve_bytes == 0) return;
    auto file = folder_.open(reserve_name, OpenMode::create_new);
    if (!file && file.error().code() == ErrorCode::conflict) file = folder_.open(reserve_name, OpenMode::read_write);
    has_reserve_ = file && (*file)->preallocate(options_.reserve_bytes);
}

Result<std::vector<StoredEntry>> Store::read(Cursor& cursor, std::size_t enough, Kind kind) const {
    std::vector<StoredEntry> found;
    while (found.size() < enough) {
        Segment segment;
        {
            const std::lock_guard lock{mutex_};
            std::optional<std::uint64_t> wanted = live_.at_or_after(cursor.sequence);
            if (kind == Kind::parked) {
                const auto at = parked_.lower_bound(cursor.sequence);
                wanted = at == parked_.end() ? std::nullopt : std::optional{at->first};
            }
            if (!wanted) return found;
            const auto at = std::find_if(segments_.begin(), segments_.end(),
                                         [&](const Segment& one) { return *wanted >= one.first && *wanted < one.next; });
            HUFU_ASSERT(at != segments_.end());
            segment = *at;
            cursor.sequence = *wanted;
        }
        if (cursor.segment != segment.number) {
            cursor = {.sequence = cursor.sequence, .segment = segment.number, .position = 0, .group_before = 0};
        }
        GroupScanner scanner{*segment.file, segment.number, cursor.position, segment.end, cursor.group_before};
        while (found.size() < enough && cursor.sequence < segment.next) {
            auto more = scanner.next();
            if (more && !*more && options_.give_up_damaged) more = scanner.skip_damage();
            if (!more) return more.error();
            if (!*more) {
                if (!options_.give_up_damaged)
                    return damaged(segment.number, scanner.position(), "does not match its checksum");
                cursor.sequence = segment.next;
                break;
            }
            const std::lock_guard lock{mutex_};
            for (const FrameView& frame : scanner.frames()) {
                const auto sequence = frame.header.sequence;
                if (frame.header.kind != FrameKind::entry || sequence < cursor.sequence) continue;
                if (!(kind == Kind::live ? live_.contains(sequence) : parked_.contains(sequence))) continue;
                found.push_back({{sequence, facts_of(frame.payload).key, frame.payload.size()}, std::string{frame.payload}});
            }
            for (const FrameView& frame : scanner.frames()) {
                if (frame.header.kind == FrameKind::entry)
                    cursor.sequence = std::max(cursor.sequence, frame.header.sequence + 1);
            }
            cursor.position = scanner.position();
            cursor.group_before = scanner.group();
        }
    }
    return found;
}

Store::Levels Store::levels() const {
    const std::lock_guard lock{mutex_};
    Levels levels{.entries = live_.count(), .bytes = bytes_, .parked = parked_.size(), .keys = keys_.size()};
    for (const Segment& segment : segments_) levels.disk_bytes += segment.end;
    return levels;
}

bool Store::holds(std::uint64_t key) const {
    const std::lock_guard lock{mutex_};
    return keys_.contains(key);
}

std::optional<SystemTime> Store::oldest() const {
    const std::lock_guard lock{mutex_};
    const auto first = live_.at_or_after(0);
    const auto behind = first ? ages_.upper_bound(*first) : ages_.begin();
    return behind == ages_.begin() ? std::nullopt : std::optional{std::prev(behind)->second};
}

void Store::note_age(std::uint64_t sequence, SystemTime spilled_at) {
    constexpr std::chrono::seconds apart{1};
    const auto at = ages_.empty() ? ages_.end() : std::prev(ages_.end());
    const bool near = at != ages_.end() && spilled_at >= at->second && spilled_at - at->second < apart;
    if (!near) ages_.emplace_hint(ages_.end(), sequence, spilled_at);
}

std::string Store::reason_of_parked(std::uint64_t sequence) const {
    const std::lock_guard lock{mutex_};
    const auto found = parked_.find(sequence);
    return found == parked_.end() ? std::string{} : found->second;
}

}  // namespace hufu::degradation::journal
