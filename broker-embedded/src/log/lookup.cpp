// Finding a record by its key or by its place in the log.
#include <algorithm>

#include <hufu/broker/log_record.hpp>
#include <hufu/core/mutant.hpp>

#include "log/crc32c.hpp"
#include "log/impl.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint32_t rebuilds_max = 3;  ///< a segment that cannot be read so often has no key index

Error nothing_at(std::uint64_t log_offset) {
    return Error{ErrorCode::not_found, Disposition::reject,
                 "no message begins at offset " + std::to_string(log_offset) + " of the log"};
}

std::uint32_t seconds(std::uint64_t ms) noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(ms / 1000, ~0U));
}

}  // namespace

// What is remembered of the active segment.

void Log::Impl::note_keys(std::uint64_t position, std::span<const std::uint64_t> keys, std::uint64_t stored_ms) {
    for (const auto key : keys)
        active.keys.entries.push_back({key, static_cast<std::uint32_t>(position), seconds(stored_ms)});
}

// Keys files of sealed segments.

Result<KeyFile*> Log::Impl::key_file(SealedSegment& segment) {
    if (!segment.key_file) {
        auto file = KeyFile::open(directory, {segment.base, segment.end});
        if (!file) return file.error();
        segment.key_file = std::move(*file);
        note_opened(&segment);
    }
    return segment.key_file.get();
}

void Log::Impl::lose_keys(SealedSegment& segment, const Error& error) {
    segment.key_file.reset();
    segment.keys_missing = true;
    if (error.code() == ErrorCode::corrupt) report_damage(segment.base, 0, error.text());
}

std::unique_ptr<LogChore> Log::Impl::take_key_chore() {
    if (!options.keys_of) return nullptr;
    // The newest are asked for most.
    for (auto at = sealed.rbegin(); at != sealed.rend(); ++at) {
        auto& segment = **at;
        const bool rebuild = segment.keys_missing && segment.key_attempts < rebuilds_max;
        if ((segment.key_memory || rebuild) && segment.end <= durable) {
            const SegmentSpan span{segment.base, segment.end};
            return std::make_unique<KeysChore>(directory, span, segment.key_memory, options.keys_of);
        }
    }
    return nullptr;
}

void Log::Impl::finish_key_chore(KeysChore& chore) {
    const auto found =
        std::find_if(sealed.begin(), sealed.end(), [&](const auto& segment) { return segment->base == chore.base(); });
    if (found == sealed.end()) {
        if (chore.result) unwanted.push_back(keys_name(chore.base()));
        return;
    }
    auto& segment = **found;
    if (!chore.result) {
        if (segment.keys_missing && chore.result.error().code() != ErrorCode::out_of_space) ++segment.key_attempts;
        return;
    }
    segment.key_memory.reset();
    segment.key_file.reset();
    segment.keys_missing = false;
}

KeyHits Log::find_key(const KeyQuery& query) {
    auto& log = *impl_;
    KeyHits hits;
    if (query.from_ms > query.to_ms) return hits;
    const auto from_s = seconds(query.from_ms);
    const auto to_s = seconds(query.to_ms);
    std::vector<std::uint32_t> positions;
    const auto take = [&](std::uint64_t base) {
        for (const auto position : positions) hits.log_offsets.push_back(base + position);
        positions.clear();
    };
    const auto end = mutant_active("key_of_pending_record_found") ? log.write_position : log.durable;
    if (end > log.active.base) {
        log.active.keys.settle();
        log.active.keys.find(query.key, from_s, to_s, end - log.active.base, query.hits_max, positions);
        take(log.active.base);
    }
    for (auto at = log.sealed.rbegin(); at != log.sealed.rend() && hits.log_offsets.size() < query.hits_max; ++at) {
        auto& segment = **at;
        const bool too_old = segment.newest_ms != 0 && segment.newest_ms < query.from_ms;
        const bool too_young = at + 1 != log.sealed.rend() && (*(at + 1))->newest_ms > query.to_ms;
        if (too_old || too_young) continue;
        const auto wanted = query.hits_max - hits.log_offsets.size();
        if (segment.key_memory) {
            const auto readable = std::min(segment.end, log.durable);
            segment.key_memory->find(query.key, from_s, to_s, readable - segment.base, wanted, positions);
        } else if (segment.keys_missing) {
            ++hits.segments_missing;
        } else {
            auto file = log.key_file(segment);
            auto found = file ? (*file)->find(query.key, from_s, to_s, wanted, positions) : Result<void>{file.error()};
            if (!found) {
                log.lose_keys(segment, found.error());
                ++hits.segments_missing;
            }
        }
        take(segment.base);
    }
    return hits;
}

// By place. What a record says of itself is no proof that it is one: a body may hold the image of a record, at the very
// offset it claims. So the way leads from a group that is known, over groups that verify, to the table that names it.

std::optional<SealedSegment*> Log::Impl::segment_of(std::uint64_t log_offset) {
    if (log_offset >= durable) return std::nullopt;
    if (log_offset >= active.base) return active.file ? std::optional<SealedSegment*>{nullptr} : std::nullopt;
    const auto after = std::upper_bound(sealed.begin(), sealed.end(), log_offset,
                                        [](std::uint64_t value, const auto& segment) { return value < segment->base; });
    if (after == sealed.begin() || log_offset >= (*(after - 1))->end) return std::nullopt;
    return (after - 1)->get();
}

std::uint32_t Log::Impl::group_below(SealedSegment* segment, std::uint64_t position) {
    if (segment == nullptr) return mark_below(active.keys.marks, position);
    if (segment->key_memory) return mark_below(segment->key_memory->marks, position);
    if (segment->keys_missing) return 0;
    auto file = key_file(*segment);
    if (file) return mark_below((*file)->marks(), position);
    lose_keys(*segment, file.error());
    return 0;
}

Result<Log::Impl::Listed> Log::Impl::find_listed(std::uint64_t log_offset) {
    const auto holder = segment_of(log_offset);
    if (!holder) return nothing_at(log_offset);
    const SegmentSpan span{base_of_segment(*holder), *holder != nullptr ? (*holder)->end : durable};
    const auto from = group_below(*holder, log_offset - span.base);
    auto file = data_file(*holder);
    if (!file) return file.error();
    GroupListing table;
    std::optional<std::uint64_t> damaged;  // where a group should begin
    for (auto at = span.base + from; at + sizeof(GroupHeader) <= log_offset;) {
        auto read = read_group_table(**file, span, at, table);
        if (!read) return read.error();
        if (!*read) {
            if (!damaged) damaged = at;
            at += sector_bytes;  // the next group begins on a sector
            continue;
        }
        const auto end = at + group_bytes(table.header.record_bytes, table.header.records);
        if (log_offset >= end) {
            at = end;
            continue;
        }
        auto place = at + sizeof(GroupHeader);
        for (const auto& entry : table.entries) {
            if (place == log_offset && entry.queue < queues.size()) return Listed{entry, *holder};
            if (place >= log_offset) break;
            place += entry.size;
        }
        return nothing_at(log_offset);
    }
    if (!damaged) return nothing_at(log_offset);
    report_damage(*damaged, log_offset - *damaged,
                  "part of segment \"" + segment_name(span.base) + "\" does not match its checksum; it is not served");
    return corrupt_error("what stands at offset " + std::to_string(log_offset) + " of the log is damaged");
}

Result<void> Log::Impl::read_listed(const Listed& listed, std::uint64_t log_offset, std::vector<std::byte>& out) {
    auto file = data_file(listed.segment);
    if (!file) return file.error();
    const auto begin = out.size();
    out.resize(begin + listed.entry.size);
    const auto record = std::span{out}.subspan(begin);
    auto count = (*file)->read_at(log_offset - base_of_segment(listed.segment), record);
    if (count && *count == record.size() && crc32c(0, record) == listed.entry.crc) return {};
    out.resize(begin);
    if (!count) return count.error();
    report_damage(log_offset, listed.entry.size, "a stored message does not match its checksum; it is not served");
    return corrupt_error("the message at offset " + std::to_string(log_offset) + " of the log is damaged");
}

Result<QueueHandle> Log::read_at(std::uint64_t log_offset, std::vector<std::byte>& out) {
    auto& log = *impl_;
    const auto listed = log.find_listed(log_offset);
    if (!listed) return listed.error();
    const auto& entry = listed->entry;
    if (entry.kind == static_cast<std::uint32_t>(RecordKind::message) && entry.size >= log_record::bytes_min) {
        if (auto read = log.read_listed(*listed, log_offset, out); !read) return read.error();
        return QueueHandle{entry.queue};
    }
    if (entry.kind != static_cast<std::uint32_t>(RecordKind::link)) return nothing_at(log_offset);
    std::vector<std::byte> record;
    if (auto read = log.read_listed(*listed, log_offset, record); !read) return read.error();
    const auto link = decode_link_head(record);
    const auto followed = link ? log.follow(*link, out) : Impl::Followed::damaged;
    if (followed == Impl::Followed::served) return QueueHandle{entry.queue};
    if (followed == Impl::Followed::expired) return nothing_at(log_offset);
    return corrupt_error("the message that the link at offset " + std::to_string(log_offset) +
                         " of the log leads to is damaged");
}

Result<Mark> Log::read_mark(std::uint64_t log_offset) {
    auto& log = *impl_;
    const auto listed = log.find_listed(log_offset);
    if (!listed) return listed.error();
    if (listed->entry.kind != static_cast<std::uint32_t>(RecordKind::mark)) return nothing_at(log_offset);
    std::vector<std::byte> record;
    if (auto read = log.read_listed(*listed, log_offset, record); !read) return read.error();
    auto mark = Impl::decode_mark(QueueHandle{listed->entry.queue}, std::move(record));
    if (!mark) return corrupt_error("the mark at offset " + std::to_string(log_offset) + " of the log is damaged");
    return std::move(*mark);
}

}  // namespace hufu::broker
