// Opening a journal: what a crash left, what counts of it, what is damaged.
#include <algorithm>

#include "journal/scanner.hpp"
#include "journal/store.hpp"

namespace hufu::degradation::journal {

Result<std::unique_ptr<Store>> Store::open(Directory& folder, const JournalOptions& options) {
    std::unique_ptr<Store> store{new Store{folder, options}};
    auto lock = folder.lock();
    if (!lock) return lock.error();
    store->lock_ = std::move(*lock);
    if (auto recovered = store->recover(); !recovered) return recovered.error();
    return store;
}

Result<void> Store::recover() {
    const auto names = folder_.list();
    if (!names) return names.error();
    std::vector<std::uint32_t> numbers;
    for (const auto& name : *names) {
        if (const auto number = segment_number(name)) numbers.push_back(*number);
    }
    std::sort(numbers.begin(), numbers.end());
    last_number_ = numbers.empty() ? 0 : numbers.back();
    // The newest one that has a snapshot knows what is left of the others. One without was never finished.
    while (!numbers.empty()) {
        const auto number = numbers.back();
        numbers.pop_back();
        const auto adopted = adopt_newest(number, numbers.empty());
        if (!adopted) return adopted.error();
        if (*adopted) break;
        leftovers_.push_back(segment_name(number));
    }
    if (segments_.empty()) return {};
    const Snapshot snapshot = std::move(*newest_);
    newest_.reset();
    Segment newest = std::move(segments_.back());
    segments_.clear();
    if (auto sealed = adopt_sealed(snapshot, numbers); !sealed) return sealed.error();
    segments_.push_back(std::move(newest));
    return count_entries(segments_.back());
}

/// Applies the snapshot and everything behind it. False: the segment has no snapshot.
Result<bool> Store::adopt_newest(std::uint32_t number, bool only) {
    auto file = folder_.open(segment_name(number), OpenMode::read_write);
    if (!file) return file.error();
    Segment segment;
    segment.number = number;
    segment.file = std::move(*file);
    const auto size = segment.file->size();
    if (!size) return size.error();
    // As the disk has it: a sync that failed may have left pages that only look written.
    GroupScanner scanner{*segment.file, number, 0, *size, 0, GroupScanner::From::disk};
    auto more = scanner.next();
    if (!more) return more.error();
    if (!*more) {
        const auto behind = scanner.skip_damage();
        if (!behind) return behind.error();
        if (*behind) return damaged(number, 0, "its snapshot does not match its checksum");
        if (only && *size >= sector_bytes) {
            std::string first(sizeof(FrameHeader), '\0');
            static_cast<void>(segment.file->read_at(0, std::as_writable_bytes(std::span{first})));
            FrameHeader header;
            std::copy(first.begin(), first.end(), reinterpret_cast<char*>(&header));
            const bool ours = header.segment == number || first == std::string(sizeof(FrameHeader), '\0');
            if (!ours) {
                return Error{ErrorCode::wrong_version, Disposition::fatal,
                             "\"" + folder_.path() + "/" + segment_name(number) +
                                 "\" is not a journal's segment: name the folder of a journal"};
            }
        }
        return false;
    }
    auto snapshot = scanner.frames().front().header.kind == FrameKind::snapshot
                        ? decode_snapshot(scanner.frames().front().payload)
                        : std::nullopt;
    if (!snapshot) {
        return Error{ErrorCode::wrong_version, Disposition::fatal,
                     "\"" + folder_.path() + "/" + segment_name(number) +
                         "\" is not a journal of this version: use the program that wrote it"};
    }
    live_ = snapshot->live;
    parked_ = snapshot->parked;
    next_sequence_ = snapshot->next_sequence;
    segment.first = segment.next = next_sequence_;
    newest_ = std::move(*snapshot);
    for (;;) {
        segment.end = scanner.position();
        more = scanner.next();
        if (!more) return more.error();
        if (!*more) {
            // Each group was synced before the next was written: whatever follows a bad one makes it damage, not a torn tail.
            more = scanner.skip_damage();
            if (!more) return more.error();
            if (!*more) break;
            if (!options_.give_up_damaged) return damaged(number, segment.end, "does not match its checksum");
        }
        for (const FrameView& frame : scanner.frames()) {
            if (!apply(frame, segment)) return damaged(number, scanner.begin(), "holds a record that makes no sense");
        }
    }
    segments_.push_back(std::move(segment));
    return true;
}

bool Store::apply(const FrameView& frame, Segment& segment) {
    if (frame.header.kind == FrameKind::entry) {
        const auto sequence = frame.header.sequence;
        if (sequence < next_sequence_ || frame.payload.size() < entry_facts_bytes) return false;
        given_up_ += sequence - next_sequence_;
        live_.add(sequence);
        next_sequence_ = segment.next = sequence + 1;
        return true;
    }
    Ranges entries;
    std::string reason;
    if (!decode_ranges(frame.payload, entries, reason)) return false;
    for (const auto& [first, last] : entries.ranges()) {
        for (auto sequence = first; sequence <= last; ++sequence) {
            switch (frame.header.kind) {
                case FrameKind::trim:
                    if (!live_.remove(sequence)) parked_.erase(sequence);
                    break;
                case FrameKind::park:
                    if (live_.remove(sequence)) parked_[sequence] = reason;
                    break;
                case FrameKind::unpark:
                    if (parked_.erase(sequence) > 0) live_.add(sequence);
                    break;
                default: return false;
            }
        }
    }
    return true;
}

Result<void> Store::adopt_sealed(const Snapshot& snapshot, const std::vector<std::uint32_t>& numbers) {
    for (const auto number : numbers) {
        const bool listed = std::any_of(snapshot.sealed.begin(), snapshot.sealed.end(),
                                        [&](const Snapshot::Sealed& sealed) { return sealed.number == number; });
        if (!listed) leftovers_.push_back(segment_name(number));  // was removed, though a crash brought its name back
    }
    for (const auto& sealed : snapshot.sealed) {
        Segment segment{.number = sealed.number, .end = sealed.end, .first = sealed.first, .next = sealed.next};
        const auto parked = parked_.lower_bound(sealed.first);
        const auto live = live_.at_or_after(sealed.first);
        const bool needed = (live && *live < sealed.next) || (parked != parked_.end() && parked->first < sealed.next);
        const bool there = std::find(numbers.begin(), numbers.end(), sealed.number) != numbers.end();
        if (!needed) {
            if (there) leftovers_.push_back(segment_name(sealed.number));
            continue;
        }
        if (!there) {
            if (!options_.give_up_damaged) return damaged(sealed.number, 0, "is missing, and with it entries that are left");
            give_up(sealed.first, sealed.next, {});
            continue;
        }
        auto file = folder_.open(segment_name(sealed.number), OpenMode::read_write);
        if (!file) return file.error();
        segment.file = std::move(*file);
        segments_.push_back(std::move(segment));
        if (auto counted = count_entries(segments_.back()); !counted) return counted.error();
    }
    return {};
}

/// Finds the keys and sizes of what is left in the segment.
Result<void> Store::count_entries(Segment& segment) {
    Ranges seen;
    GroupScanner scanner{*segment.file, segment.number, 0, segment.end, 0};
    while (scanner.position() < segment.end) {
        auto more = scanner.next();
        if (!more) return more.error();
        if (!*more) {
            if (!options_.give_up_damaged) return damaged(segment.number, scanner.position(), "does not match its checksum");
            more = scanner.skip_damage();
            if (!more) return more.error();
            if (!*more) break;
        }
        for (const FrameView& frame : scanner.frames()) {
            if (frame.header.kind != FrameKind::entry) continue;
            const bool live = live_.contains(frame.header.sequence);
            if (!live && !parked_.contains(frame.header.sequence)) continue;
            seen.add(frame.header.sequence);
            const auto facts = facts_of(frame.payload);
            if (live) {
                bytes_ += frame.payload.size();
                note_age(frame.header.sequence, facts.spilled_at);
            }
            if (facts.key != 0) ++keys_[facts.key];
        }
    }
    give_up(segment.first, segment.next, seen);
    return {};
}

/// Forgets what is not among `seen`; there is nothing of the kind unless the journal is damaged.
void Store::give_up(std::uint64_t first, std::uint64_t next, const Ranges& seen) {
    for (auto at = live_.at_or_after(first); at && *at < next; at = live_.at_or_after(*at + 1)) {
        if (!seen.contains(*at)) {
            live_.remove(*at);
            ++given_up_;
        }
    }
    for (auto at = parked_.lower_bound(first); at != parked_.end() && at->first < next;) {
        if (seen.contains(at->first)) {
            ++at;
        } else {
            at = parked_.erase(at);
            ++given_up_;
        }
    }
}

Error Store::damaged(std::uint32_t segment, std::uint64_t position, const std::string& what) const {
    return Error{ErrorCode::corrupt, Disposition::fatal,
                 "journal \"" + folder_.path() + "\": segment " + segment_name(segment) + " at byte " +
                     std::to_string(position) + " " + what +
                     ": bring the file back from a copy, or open with give_up_damaged (--give-up-damaged), which counts "
                     "what it gives up"};
}

}  // namespace hufu::degradation::journal
