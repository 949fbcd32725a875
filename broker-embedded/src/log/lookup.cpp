// Finding a record by its key or by its place in the log.
#include <algorithm>
#include <cstring>

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

Result<QueueHandle> Log::read_at(std::uint64_t log_offset, std::vector<std::byte>& out) {
    auto& log = *impl_;
    if (log_offset >= log.durable) return nothing_at(log_offset);
    if (log_offset >= log.active.base) {
        if (!log.active.file) return nothing_at(log_offset);
        const auto from = mark_below(log.active.keys.marks, log_offset - log.active.base);
        return log.read_in_group(*log.active.file, {log.active.base, log.durable}, from, log_offset, out);
    }
    const auto after = std::upper_bound(log.sealed.begin(), log.sealed.end(), log_offset,
                                        [](std::uint64_t value, const auto& segment) { return value < segment->base; });
    if (after == log.sealed.begin() || log_offset >= (*(after - 1))->end) return nothing_at(log_offset);
    auto& segment = **(after - 1);
    std::uint32_t from = 0;
    if (segment.key_memory) {
        from = mark_below(segment.key_memory->marks, log_offset - segment.base);
    } else if (!segment.keys_missing) {
        if (auto file = log.key_file(segment); file)
            from = mark_below((*file)->marks(), log_offset - segment.base);
        else
            log.lose_keys(segment, file.error());
    }
    auto file = log.data_file(&segment);
    if (!file) return file.error();
    return log.read_in_group(**file, {segment.base, segment.end}, from, log_offset, out);
}

Result<QueueHandle> Log::Impl::read_in_group(const File& file, const SegmentSpan& segment, std::uint64_t from,
                                             std::uint64_t log_offset, std::vector<std::byte>& out) {
    GroupListing table;
    for (auto at = segment.base + from; at + sizeof(GroupHeader) <= log_offset;) {
        auto read = read_group_table(file, segment, at, table);
        if (!read) return read.error();
        if (!*read) {
            at += sector_bytes;  // damage; the next group begins on a sector
            continue;
        }
        const auto end = at + group_bytes(table.header.record_bytes, table.header.records);
        if (log_offset >= end) {
            at = end;
            continue;
        }
        auto place = at + sizeof(GroupHeader);
        for (const auto& entry : table.entries) {
            if (place == log_offset && entry.kind == static_cast<std::uint32_t>(RecordKind::message) &&
                entry.queue < queues.size() && entry.size >= log_record::bytes_min) {
                const auto begin = out.size();
                out.resize(begin + entry.size);
                const auto record = std::span{out}.subspan(begin);
                auto count = file.read_at(log_offset - segment.base, record);
                if (count && *count == entry.size && crc32c(0, record) == entry.crc) return QueueHandle{entry.queue};
                out.resize(begin);
                if (!count) return count.error();
                report_damage(log_offset, entry.size, "a stored message does not match its checksum; it is not served");
                return corrupt_error("the message at offset " + std::to_string(log_offset) + " of the log is damaged");
            }
            if (place >= log_offset) break;
            place += entry.size;
        }
        return nothing_at(log_offset);
    }
    return nothing_at(log_offset);
}

}  // namespace hufu::broker
