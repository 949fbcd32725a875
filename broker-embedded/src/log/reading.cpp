// Reading: queue offset to place, place to bytes, nothing unverified and nothing above the durable watermark.
#include <algorithm>

#include <hufu/broker/log_record.hpp>
#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "log/crc32c.hpp"
#include "log/impl.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t open_files_max = 48;
constexpr std::size_t damages_max = 1000;
constexpr std::uint64_t gap_max = 2048;  ///< bytes of other queues read along rather than with another call
constexpr std::size_t entries_at_once = 128;

std::uint64_t readable_end(const Queue& queue) {
    return mutant_active("read_above_durable_watermark") ? queue.next : queue.durable_next;
}

}  // namespace

void Log::Impl::report_damage(std::uint64_t log_offset, std::uint64_t bytes, std::string text) {
    const auto known =
        std::any_of(damages.begin(), damages.end(), [&](const Damage& damage) { return damage.log_offset == log_offset; });
    if (!known && damages.size() < damages_max) damages.push_back({log_offset, bytes, std::move(text)});
}

void Log::Impl::note_opened(SealedSegment* segment) {
    if (std::find(opened.begin(), opened.end(), segment) != opened.end()) return;
    if (opened.size() >= open_files_max) {
        auto* oldest = opened.front();
        opened.erase(opened.begin());
        oldest->data.reset();
        oldest->index.reset();
        oldest->key_file.reset();
    }
    opened.push_back(segment);
}

Result<const File*> Log::Impl::data_file(SealedSegment* segment) {
    if (segment == nullptr) return active.file.get();
    if (!segment->data) {
        auto file = directory.open(segment_name(segment->base), OpenMode::read_only);
        if (!file) return file.error();
        segment->data = std::move(*file);
        note_opened(segment);
    }
    return segment->data.get();
}

Result<const File*> Log::Impl::index_file(SealedSegment& segment) {
    if (!segment.index) {
        auto file = directory.open(index_name(segment.base), OpenMode::read_only);
        if (!file) return file.error();
        segment.index = std::move(*file);
        note_opened(&segment);
    }
    return segment.index.get();
}

Result<void> Log::Impl::rebuild_index(SealedSegment& segment) {
    for (auto& queue : queues) {
        std::erase_if(queue.runs, [&segment](const SealedRun& run) { return run.segment == &segment; });
    }
    auto index = std::make_shared<SealedIndex>();
    index->base = segment.base;
    index->end = segment.end;
    std::vector<std::size_t> slots;  // by queue, one above the place in index->queues
    const auto visit = [&](const GroupHeader&, const ScannedRecord& record) {
        if (!takes_offset(record.entry.kind)) return;
        if (!record.intact) {
            report_damage(record.log_offset, record.entry.size,
                          "a stored message does not match its checksum; it is not served");
            return;
        }
        const auto queued = queued_record(record, segment.base);
        if (record.entry.queue >= queues.size() || !queued) return;
        if (slots.size() < queues.size()) slots.resize(queues.size());
        auto& slot = slots[record.entry.queue];
        const auto offset = queued->queue_offset;
        if (slot == 0) {
            index->queues.push_back({record.entry.queue, offset, {}});
            slot = index->queues.size();
        }
        auto& of_queue = index->queues[slot - 1];
        if (offset < of_queue.first + of_queue.entries.size()) return;
        of_queue.entries.resize(offset - of_queue.first);  // lost to damage
        of_queue.entries.push_back(queued->entry);
        index->newest_ms = std::max(index->newest_ms, queued->stored_at_ms);
        index->oldest_target = std::min(index->oldest_target, queued->target);
    };
    const auto lost = [&](std::uint64_t log_offset, std::uint64_t bytes) {
        report_damage(
            log_offset, bytes,
            "part of segment \"" + segment_name(segment.base) + "\" does not match its checksum; it is not served");
    };
    auto file = data_file(&segment);
    if (!file) return file.error();
    const Scan scan{.base = segment.base, .from = segment.base, .limit = segment.end, .trusted_to = segment.end};
    if (auto scanned = scan_segment(**file, scan, visit, lost); !scanned) return scanned.error();
    for (std::size_t slot = 0; slot < index->queues.size(); ++slot) {
        const auto& of_queue = index->queues[slot];
        auto& runs = queues[of_queue.queue].runs;
        const auto at =
            std::find_if(runs.begin(), runs.end(), [&](const SealedRun& run) { return run.segment->base > segment.base; });
        runs.insert(at, {of_queue.first, of_queue.entries.size(), &segment, 0, slot});
    }
    segment.newest_ms = index->newest_ms;
    segment.oldest_target = index->oldest_target;
    segment.memory = std::move(index);
    segment.index.reset();
    segment.rebuilt = true;
    ++recovered.rebuilt_indexes;
    return {};
}

Log::Impl::Located Log::Impl::locate(Queue& queue, std::uint64_t offset, std::uint64_t limit, std::size_t entries_max) {
    const auto wanted = std::min<std::uint64_t>(limit - offset, entries_max);
    if (offset >= queue.active_first) {
        const auto all = std::span<const IndexEntry>{queue.active}.subspan(offset - queue.active_first);
        return {all.first(std::min<std::size_t>(all.size(), wanted)), nullptr, offset + 1};
    }
    for (int attempt = 0; attempt < 2; ++attempt) {
        const auto after = std::upper_bound(queue.runs.begin(), queue.runs.end(), offset,
                                            [](std::uint64_t value, const SealedRun& run) { return value < run.first; });
        const auto next_first = after == queue.runs.end() ? queue.active_first : after->first;
        if (after == queue.runs.begin()) return {{}, nullptr, next_first};
        const auto& run = *(after - 1);
        if (offset >= run.first + run.count) return {{}, nullptr, next_first};
        const auto skip = offset - run.first;
        const auto count = static_cast<std::size_t>(std::min(wanted, run.count - skip));
        auto& segment = *run.segment;
        if (segment.memory) {
            return {std::span<const IndexEntry>{segment.memory->queues[run.slot].entries}.subspan(skip, count), &segment, 0};
        }
        entry_buffer.resize(count);
        auto file = index_file(segment);
        Result<void> read = file ? read_index_entries(**file, run.position + skip * sizeof(IndexEntry), entry_buffer)
                                 : Result<void>{file.error()};
        if (read) return {entry_buffer, &segment, 0};
        const auto behind = run.first + run.count;
        if (auto rebuilt = rebuild_index(segment); !rebuilt) {
            report_damage(segment.base, segment.end - segment.base,
                          "segment \"" + segment_name(segment.base) + "\" cannot be read: " + rebuilt.error().text());
            return {{}, nullptr, behind};
        }
    }
    return {{}, nullptr, offset + 1};
}

std::size_t Log::Impl::read_records(const Located& located, std::span<const std::uint32_t> picked, std::uint64_t bytes,
                                    const ReadFilter& filter, std::vector<std::byte>& out, std::uint32_t& damaged) {
    // One call for a stretch of records that stand close together; then the others' bytes are squeezed out.
    const auto& first = located.entries[picked.front()];
    const auto& last = located.entries[picked.back()];
    const auto base = base_of_segment(located.segment);
    const auto begin = out.size();
    out.resize(begin + bytes);
    auto file = data_file(located.segment);
    std::size_t got = 0;
    if (file && *file != nullptr) {
        auto count = (*file)->read_at(first.position, std::span{out}.subspan(begin, bytes));
        if (count) got = *count;
    }
    std::size_t kept = 0;
    auto end = begin;
    for (const auto at : picked) {
        const auto& entry = located.entries[at];
        const auto from = begin + (entry.position - first.position);
        const bool whole = entry.size >= log_record::bytes_min && from + entry.size <= begin + got;
        const std::span<const std::byte> record{out.data() + from, whole ? entry.size : 0};
        if (!whole || crc32c(0, record) != entry.crc ||
            log_record::load_u64(record.data() + log_record::log_offset_at) != base + entry.position) {
            report_damage(base + entry.position, entry.size,
                          "a stored message does not match its checksum; it is not served");
            ++damaged;
            continue;
        }
        if (filter.by_record && !filter.by_record(record)) continue;
        if (end != from) std::copy(record.begin(), record.end(), out.begin() + static_cast<std::ptrdiff_t>(end));
        end += entry.size;
        ++kept;
    }
    static_cast<void>(last);
    out.resize(end);
    return kept;
}

ReadResult Log::read(QueueHandle handle, std::uint64_t offset, const ReadLimits& limits, const ReadFilter& filter,
                     std::vector<std::byte>& out) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    auto& queue = log.queues[handle.value];
    ReadResult result;
    result.min_offset = first_kept(queue);
    result.max_offset = readable_end(queue);
    result.next_offset = offset;
    if (offset >= result.max_offset) {
        result.status = offset == result.max_offset ? ReadStatus::at_end : ReadStatus::beyond;
        result.next_offset = result.max_offset;
        return result;
    }
    if (offset < result.min_offset) {
        result.status = ReadStatus::below;
        result.next_offset = result.min_offset;
        return result;
    }
    const auto begin = out.size();
    std::uint32_t scanned = 0;
    std::uint64_t examined = 0;
    std::vector<std::uint32_t> picked;
    while (result.next_offset < result.max_offset && scanned < limits.scan_max && result.records < limits.records_max &&
           out.size() - begin < limits.bytes_max) {
        const auto at = result.next_offset;
        const auto located =
            log.locate(queue, at, result.max_offset, std::min<std::size_t>(entries_at_once, limits.scan_max - scanned));
        if (located.entries.empty()) {
            const auto next = std::clamp(located.skip_to, at + 1, result.max_offset);
            result.damaged += static_cast<std::uint32_t>(next - at);
            result.next_offset = next;
            ++scanned;
            continue;
        }
        picked.clear();
        std::uint64_t stretch = 0;
        bool full = false;
        std::uint32_t i = 0;
        for (; i < located.entries.size() && !full; ++i) {
            const auto& entry = located.entries[i];
            if (entry.size == 0) {
                ++result.damaged;
                continue;
            }
            if (filter.by_code && !filter.by_code(entry.tags_code)) continue;
            if (!entry.is_message()) {
                if (entry.is_mark()) continue;
                if (!picked.empty()) break;  // the stretch before the link first
            }
            const auto total = out.size() - begin + stretch;
            const bool none = result.records == 0 && picked.empty();
            if (!none && total + entry.bytes() > limits.bytes_max) {
                full = true;
                break;
            }
            if (entry.is_link()) {
                examined += entry.bytes();
                log.read_link(located.segment, entry, filter, out, result);
                full = result.records >= limits.records_max || (filter.by_record && examined >= limits.examined_bytes_max);
                continue;
            }
            if (!picked.empty()) {
                const auto& previous = located.entries[picked.back()];
                const auto behind = static_cast<std::uint64_t>(previous.position) + previous.size;
                if (entry.position < behind || entry.position - behind > gap_max) break;  // next stretch
                stretch += entry.position - behind;
            }
            picked.push_back(i);
            stretch += entry.size;
            if (result.records + picked.size() >= limits.records_max) full = true;
        }
        if (!picked.empty()) {
            examined += stretch;
            const auto kept = log.read_records(located, picked, stretch, filter, out, result.damaged);
            result.records += static_cast<std::uint32_t>(kept);
            if (kept < picked.size() && filter.by_record) full = false;  // there may be room again
        }
        scanned += i;
        result.next_offset = at + i;
        if (full || (filter.by_record && examined >= limits.examined_bytes_max)) break;
    }
    result.status = result.records > 0 ? ReadStatus::found : ReadStatus::no_match;
    return result;
}

std::optional<std::uint64_t> Log::Impl::place_of(Queue& queue, std::uint64_t offset) {
    const auto located = locate(queue, offset, queue.next, 1);
    if (located.entries.empty() || located.entries[0].size == 0) return std::nullopt;
    return base_of_segment(located.segment) + located.entries[0].position;
}

void Log::hide_before(QueueHandle handle, std::uint64_t log_offset) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    auto& queue = log.queues[handle.value];
    auto low = queue.runs.empty() ? queue.active_first : queue.runs.front().first;
    auto high = queue.next;
    while (low < high) {
        auto middle = low + (high - low) / 2;
        const auto behind = middle + 1;
        auto place = log.place_of(queue, middle);
        while (!place && middle > low) place = log.place_of(queue, --middle);  // damaged: ask its neighbour
        if (place && *place >= log_offset) {
            high = middle;
        } else {
            low = behind;
        }
    }
    queue.hidden_below = std::max(queue.hidden_below, low);
}

void Log::for_each_entry(QueueHandle handle, std::uint64_t from, const std::function<bool(const QueueEntry&)>& visit) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    auto& queue = log.queues[handle.value];
    constexpr std::size_t entries_in_a_page = 4096;
    const auto end = readable_end(queue);
    for (auto at = std::max(from, first_kept(queue)); at < end;) {
        const auto located = log.locate(queue, at, end, entries_in_a_page);
        if (located.entries.empty()) {
            at = std::clamp(located.skip_to, at + 1, end);
            continue;
        }
        const auto base = log.base_of_segment(located.segment);
        for (const auto& entry : located.entries) {
            const auto offset = at++;
            if (entry.size == 0) continue;
            const auto kind = entry.is_link() ? EntryKind::link : entry.is_mark() ? EntryKind::mark : EntryKind::message;
            if (!visit({offset, base + entry.position, entry.bytes(), entry.tags_code, kind})) return;
        }
    }
}

Result<std::uint64_t> Log::Impl::read_stored_at(QueueHandle handle, std::uint64_t offset) {
    auto& queue = queues[handle.value];
    if (offset < first_kept(queue) || offset >= queue.durable_next) {
        return Error{ErrorCode::not_found, Disposition::reject,
                     "offset " + std::to_string(offset) + " of queue " + std::to_string(queue.queue_id) + " of topic \"" +
                         queue.topic + "\" is outside of what is kept, " + std::to_string(first_kept(queue)) + " to " +
                         std::to_string(queue.durable_next)};
    }
    const auto located = locate(queue, offset, queue.durable_next, 1);
    if (!located.entries.empty() && !located.entries[0].is_message()) {
        if (const auto stored = small_stored_at(located.segment, located.entries[0])) return *stored;
    }
    std::vector<std::byte> record;
    std::uint32_t damaged = 0;
    const std::uint32_t pick = 0;
    if (located.entries.empty() || located.entries[0].size == 0 || !located.entries[0].is_message() ||
        read_records(located, {&pick, 1}, located.entries[0].size, {}, record, damaged) == 0) {
        return corrupt_error("offset " + std::to_string(offset) + " of topic \"" + queue.topic + "\" is damaged");
    }
    return log_record::load_u64(record.data() + log_record::store_timestamp_at(record));
}

Result<std::uint64_t> Log::stored_at_ms(QueueHandle queue, std::uint64_t offset) {
    HUFU_ASSERT(queue.value < impl_->queues.size());
    return impl_->read_stored_at(queue, offset);
}

std::uint64_t Log::offset_at(QueueHandle handle, SystemTime time, TimeBoundary boundary) {
    HUFU_ASSERT(handle.value < impl_->queues.size());
    auto& queue = impl_->queues[handle.value];
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
    const auto wanted = since > 0 ? static_cast<std::uint64_t>(since) : 0;
    const auto first = first_kept(queue);
    // Store times never go down along a queue. Searched for: the first record at or after (lower), or after (upper).
    auto low = first;
    auto high = queue.durable_next;
    while (low < high) {
        auto middle = low + (high - low) / 2;
        auto stored = impl_->read_stored_at(handle, middle);
        while (!stored && middle > low) stored = impl_->read_stored_at(handle, --middle);  // damaged: ask its neighbour
        const bool before = stored && (boundary == TimeBoundary::lower ? *stored < wanted : *stored <= wanted);
        if (before || !stored) {
            low = std::max(low, middle) + 1;
        } else {
            high = middle;
        }
    }
    if (boundary == TimeBoundary::upper && low < queue.durable_next) return low > first ? low - 1 : first;
    return low;
}

}  // namespace hufu::broker
