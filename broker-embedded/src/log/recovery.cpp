// Opening: find the newest segment, replay it to its last whole group, load what stands before it.
#include <algorithm>
#include <cstring>

#include <hufu/core/mutant.hpp>

#include "log/impl.hpp"

namespace hufu::broker {
namespace {

constexpr std::uint64_t holes_max = 10'000'000;  ///< more missing offsets than a segment can hold: not damage but nonsense

std::vector<std::uint64_t> bases_in(const std::vector<std::string>& names) {
    std::vector<std::uint64_t> bases;
    for (const auto& name : names) {
        if (const auto base = base_of(name, ".log")) bases.push_back(*base);
    }
    return bases;  // sorted, because names are
}

Result<void> check_version(const File& file, const std::string& name) {
    GroupHeader header;
    auto count = file.read_at(0, std::as_writable_bytes(std::span{&header, 1}));
    if (!count) return count.error();
    if (*count == sizeof header && header.magic == group_magic && header.version > format_version) {
        return Error{ErrorCode::wrong_version, Disposition::fatal,
                     "segment \"" + name + "\" has format " + std::to_string(header.version) +
                         ", this program writes format " + std::to_string(format_version) +
                         "; start the newer program, or use another folder"};
    }
    return {};
}

}  // namespace

Result<void> Log::Impl::recover() {
    auto names = directory.list();
    if (!names) return names.error();
    const auto bases = bases_in(*names);
    auto replayed = replay_newest(bases);
    if (!replayed) return replayed.error();
    if (!*replayed && bases.size() > 1) {
        return corrupt_error(
            "none of the " + std::to_string(bases.size()) + " segments in \"" + directory.path() +
            "\" begins with a group that verifies; restore the folder from a copy, or move it away to begin anew");
    }
    if (*replayed) {
        if (auto loaded = load_sealed(bases); !loaded) return loaded;
        for (const auto& segment : sealed)
            segment->keys_missing = !std::binary_search(names->begin(), names->end(), keys_name(segment->base));
    }
    if (auto removed = remove_strangers(*names); !removed) return removed;
    return *replayed ? begin_epoch() : create_first_segment();
}

Result<bool> Log::Impl::replay_newest(const std::vector<std::uint64_t>& bases) {
    for (auto base = bases.rbegin(); base != bases.rend(); ++base) {
        const auto name = segment_name(*base);
        auto opened_file = directory.open(name, OpenMode::read_write);
        if (!opened_file) return opened_file.error();
        std::shared_ptr<File> file{std::move(*opened_file)};
        auto size = file->size();
        if (!size) return size.error();
        if (auto fits = check_version(*file, name); !fits) return fits.error();
        // What an earlier process wrote but never synced goes to the disk now, and what the disk does not have is not
        // believed just because the page cache still shows it.
        if (auto synced = file->sync_data(); !synced) return synced.error();

        bool begun = false;
        bool bad_beginning = false;
        const auto visit = [&](const GroupHeader& group, const ScannedRecord& record) {
            if (!begun && !bad_beginning) {
                auto snapshot = record.intact && record.entry.kind == static_cast<std::uint32_t>(RecordKind::snapshot)
                                    ? decode_snapshot(text_of(record.bytes))
                                    : std::nullopt;
                bad_beginning = !snapshot;
                begun = snapshot.has_value();
                if (begun) {
                    of_older_version = group.version < format_version;
                    active = ActiveSegment{.base = *base, .capacity = snapshot->capacity, .file = file, .established = true};
                    restore(*snapshot);
                }
            } else if (begun) {
                apply(record);
            }
            if (begun) active.keys.add_mark(group.log_offset - *base);
            ++recovered.replayed_records;
        };
        const auto lost = [&](std::uint64_t log_offset, std::uint64_t bytes) {
            if (!begun) bad_beginning = true;
            report_damage(log_offset, bytes,
                          "part of segment \"" + name + "\" does not match its checksum; it is not served");
        };
        const Scan scan{.base = *base, .from = *base, .limit = *base + *size, .trusted_to = 0, .bypass_cache = true};
        auto scanned = scan_segment(*file, scan, visit, lost);
        if (!scanned) return scanned.error();
        if (bad_beginning) {
            return corrupt_error(
                "segment \"" + name + "\" in \"" + directory.path() +
                "\" holds groups, but its first one, with the state, does not verify; restore the folder from a copy, "
                "or move this file away to go back to the state before it");
        }
        if (!begun) continue;  // prepared, or begun and never durable
        if (*size < active.capacity) {
            report_damage(*base + *size, active.capacity - *size, "segment \"" + name + "\" is shorter than it was made");
        }
        write_position = durable = scanned->end;
        epoch = scanned->epoch;
        next_base = active.limit();
        recovered.tail_cut = scanned->torn;
        recovered.replayed_bytes = scanned->end - *base;
        for (auto& queue : queues) {
            if (mutant_active("offset_reused_after_power_loss") && !queue.active.empty()) {
                queue.active.pop_back();
                --queue.next;
            }
            queue.durable_next = queue.next;
        }
        return true;
    }
    return false;
}

void Log::Impl::restore(const Snapshot& snapshot) {
    start = snapshot.start;
    last_stored_ms = snapshot.newest_ms;
    state = snapshot.state;
    state_bytes = 0;
    for (const auto& [key, value] : state) state_bytes += key.size() + value.size();
    queues.clear();
    queue_names.clear();
    for (const auto& entry : snapshot.queues) {
        auto& queue = queues.emplace_back();
        queue.topic = entry.topic;
        queue.queue_id = entry.queue_id;
        queue.announced = true;
        queue.next = queue.durable_next = queue.active_first = entry.next;
        if (!queue.topic.empty()) queue_names[queue.topic][queue.queue_id] = static_cast<std::uint32_t>(queues.size() - 1);
    }
    sealed.clear();
    for (const auto& span : snapshot.sealed) {
        auto segment = std::make_unique<SealedSegment>();
        segment->base = span.base;
        segment->end = span.end;
        sealed.push_back(std::move(segment));
    }
}

void Log::Impl::apply(const ScannedRecord& record) {
    if (!record.intact) {
        report_damage(record.log_offset, record.entry.size, "a stored record does not match its checksum; it is not served");
        return;
    }
    switch (static_cast<RecordKind>(record.entry.kind)) {
        case RecordKind::message:
        case RecordKind::link:
        case RecordKind::mark: return apply_queued(record);
        case RecordKind::state_put: {
            std::string_view fields[2];
            if (decode_strings(text_of(record.bytes), fields)) remember_state(fields[0], fields[1]);
            return;
        }
        case RecordKind::state_erase: {
            std::string_view fields[2];
            if (decode_strings(text_of(record.bytes), fields)) forget_state(fields[0]);
            return;
        }
        case RecordKind::queue: {
            std::int32_t queue_id = 0;
            std::string_view topic;
            if (record.entry.queue > (1U << 24U) || !decode_queue(text_of(record.bytes), queue_id, topic)) return;
            if (record.entry.queue >= queues.size()) queues.resize(record.entry.queue + 1);
            auto& queue = queues[record.entry.queue];
            queue.topic = topic;
            queue.queue_id = queue_id;
            queue.announced = true;
            queue_names[queue.topic][queue_id] = record.entry.queue;
            return;
        }
        case RecordKind::start:
            if (record.bytes.size() == sizeof start) std::memcpy(&start, record.bytes.data(), sizeof start);
            return;
        case RecordKind::snapshot:
        case RecordKind::epoch: return;
    }
}

void Log::Impl::apply_queued(const ScannedRecord& record) {
    const auto queued = queued_record(record, active.base);
    if (!queued) return;
    if (record.entry.queue >= queues.size()) queues.resize(record.entry.queue + 1);
    auto& queue = queues[record.entry.queue];
    const auto offset = queued->queue_offset;
    if (offset < queue.next || offset - queue.next > holes_max) {
        report_damage(record.log_offset, record.entry.size,
                      "a stored message is out of its queue's order; it is not served");
        return;
    }
    queue.active.resize(offset - queue.active_first);  // holes are what damage took
    queue.active.push_back(queued->entry);
    queue.next = offset + 1;
    last_stored_ms = std::max(last_stored_ms, queued->stored_at_ms);
    active.oldest_target = std::min(active.oldest_target, queued->target);
    if (!options.keys_of) return;
    key_buffer.clear();
    if (queued->entry.is_message())
        options.keys_of(record.bytes, key_buffer);
    else
        append_keys(queued->keys, key_buffer);
    note_keys(queued->entry.position, key_buffer, last_stored_ms);
}

Result<void> Log::Impl::load_sealed(const std::vector<std::uint64_t>& bases) {
    while (!sealed.empty() && sealed.front()->base < start) sealed.pop_front();
    std::erase_if(sealed, [&](const auto& segment) {
        const bool missing = !std::binary_search(bases.begin(), bases.end(), segment->base);
        if (missing) {
            report_damage(segment->base, segment->end - segment->base,
                          "segment \"" + segment_name(segment->base) + "\" is missing from \"" + directory.path() + "\"");
        }
        return missing;
    });
    for (const auto& segment : sealed) {
        auto file = directory.open(index_name(segment->base), OpenMode::read_only);
        auto index = file ? read_index_directory(**file, segment->base, segment->end) : Result<IndexDirectory>{file.error()};
        const bool fits = index && std::all_of(index->runs.begin(), index->runs.end(),
                                               [&](const IndexRun& run) { return run.queue < queues.size(); });
        if (!fits) {
            if (auto rebuilt = rebuild_index(*segment); !rebuilt) {
                report_damage(segment->base, segment->end - segment->base,
                              "segment \"" + segment_name(segment->base) + "\" cannot be read: " + rebuilt.error().text());
            }
            continue;
        }
        segment->newest_ms = index->header.newest_ms;
        segment->oldest_target = index->header.oldest_target;
        for (const auto& run : index->runs) {
            if (run.count > 0) queues[run.queue].runs.push_back({run.first, run.count, segment.get(), run.position, 0});
        }
    }
    recovered.segments = sealed.size() + 1;
    return {};
}

Result<void> Log::Impl::remove_strangers(const std::vector<std::string>& names) {
    bool removed_any = false;
    for (const auto& name : names) {
        const auto is_kept = [&](std::uint64_t base) {
            return std::any_of(sealed.begin(), sealed.end(), [&](const auto& segment) { return segment->base == base; });
        };
        const auto data = base_of(name, ".log");
        auto index = base_of(name, ".index");
        if (!index) index = base_of(name, ".keys");
        const bool stranger = (data && !is_kept(*data) && !(active.file && *data == active.base)) ||
                              (index && !is_kept(*index)) || base_of(name, ".index.tmp").has_value() ||
                              base_of(name, ".keys.tmp").has_value();
        if (!stranger) continue;
        if (auto removed = directory.remove(name); !removed) return removed;
        removed_any = true;
    }
    return removed_any ? directory.sync() : Result<void>{};
}

Result<void> Log::Impl::create_first_segment() {
    epoch = 1;
    recovered.epoch = epoch;
    recovered.segments = 1;
    PrepareChore prepare{directory, plan_next().base, plan_next().capacity};
    prepare.run();
    if (!prepare.result) return prepare.result.error();
    prepared = std::move(*prepare.result);
    begin_segment();
    return {};
}

Result<void> Log::Impl::begin_epoch() {
    // An older program must not take what follows for a torn tail: it looks at how a segment begins.
    if (of_older_version) {
        recovered.epoch = ++epoch;
        seal_active(write_position);
        begin_segment();
        return {};
    }
    // Nothing may carry the new epoch before this record is durable, else a group that was lost and a group that was not
    // could share an epoch, and the one left over would be believed.
    recovered.epoch = ++epoch;
    auto ticket = append_system(RecordKind::epoch, "epoch");
    return ticket ? Result<void>{} : Result<void>{ticket.error()};
}

}  // namespace hufu::broker
