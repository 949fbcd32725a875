// Segments: planning, rolling, opening a new one after a failure; the chores that serve this; retention.
#include <algorithm>
#include <array>

#include <hufu/core/assert.hpp>

#include "log/crc32c.hpp"
#include "log/impl.hpp"

namespace hufu::broker {

std::uint64_t Log::Impl::snapshot_estimate() const noexcept {
    std::uint64_t bytes = 64 + (sealed.size() + 2) * sizeof(SegmentSpan) + state_bytes + state.size() * 8;
    for (const auto& queue : queues) bytes += 16 + queue.topic.size();
    return bytes;
}

SegmentPlan& Log::Impl::plan_next(std::uint64_t group_size) {
    if (!plan) {
        const auto largest = std::max(group_size, options.record_bytes_max);
        const auto needed = round_up(2 * snapshot_estimate() + largest + 4 * sector_bytes, 4096);
        const auto grown = active.capacity == 0 ? options.first_segment_bytes : 4 * active.capacity;
        const auto capacity = std::max(needed, std::min(options.segment_bytes, grown));
        plan = SegmentPlan{next_base, capacity};
        next_base += capacity;
    }
    return *plan;
}

Snapshot Log::Impl::make_snapshot() const {
    Snapshot snapshot;
    snapshot.capacity = active.capacity;
    snapshot.start = start;
    snapshot.newest_ms = last_stored_ms;
    snapshot.sealed.reserve(sealed.size());
    for (const auto& segment : sealed) snapshot.sealed.push_back({segment->base, segment->end});
    snapshot.queues.reserve(queues.size());
    for (const auto& queue : queues) snapshot.queues.push_back({queue.topic, queue.queue_id, queue.next});
    snapshot.state = state;
    return snapshot;
}

void Log::Impl::seal_active(std::uint64_t end) {
    auto segment = std::make_unique<SealedSegment>();
    segment->base = active.base;
    segment->end = end;
    segment->newest_ms = last_stored_ms;
    segment->oldest_target = active.oldest_target;
    segment->data = active.file;
    segment->memory = std::make_shared<SealedIndex>();
    segment->memory->base = active.base;
    segment->memory->end = end;
    segment->memory->newest_ms = last_stored_ms;
    segment->memory->oldest_target = active.oldest_target;
    for (std::uint32_t number = 0; number < queues.size(); ++number) {
        auto& queue = queues[number];
        if (queue.active.empty()) continue;
        auto& of_segment = segment->memory->queues;
        queue.runs.push_back({queue.active_first, queue.active.size(), segment.get(), 0, of_segment.size()});
        of_segment.push_back({number, queue.active_first, std::move(queue.active)});
        queue.active = {};
        queue.active_first = queue.next;
    }
    if (options.keys_of) segment->key_memory = std::make_shared<SegmentKeys>(std::move(active.keys));
    active.keys = {};
    note_opened(segment.get());
    sealed.push_back(std::move(segment));
}

void Log::Impl::begin_segment() {
    auto& planned = plan_next();
    active = ActiveSegment{.base = planned.base, .capacity = planned.capacity};
    write_position = active.base;
    for (auto& queue : queues) queue.announced = true;  // by the snapshot
    unannounced = unannounced_bytes = 0;
    open_group();
    open->snapshot = true;
    const auto payload = encode_snapshot(make_snapshot());
    HUFU_ASSERT(group_bytes(payload.size(), 1) <= active.capacity);
    const auto part = bytes_of(payload);
    std::uint64_t log_offset = 0;
    const auto ticket = last_ticket;
    finish_record(add_record(RecordKind::snapshot, 0, 0, {&part, 1}, log_offset));
    last_ticket = open->last_ticket = ticket;  // nobody waits for a snapshot
    close_group();
}

void Log::Impl::roll(std::uint64_t group_size) {
    close_group();
    for (auto& group : closed) {
        group->file = active.file;
        group->gate = active.gate;
    }
    // The state may have grown since the next segment was planned, and it may be too small for an uncommon group.
    const auto largest = std::max(group_size, options.record_bytes_max);
    if (plan && group_bytes(snapshot_estimate() + sizeof(SegmentSpan), 1) + largest + sector_bytes > plan->capacity) {
        if (prepared) unwanted.push_back(segment_name(plan->base));
        prepared.reset();
        plan.reset();
    }
    seal_active(write_position);
    plan_next(group_size);
    begin_segment();
}

/// Files of segments so far behind that few will read them, each named once.
std::vector<std::string> Log::Impl::long_past() {
    std::vector<std::string> names;
    for (const auto& segment : sealed) {
        if (durable < segment->end + options.cached_past_bytes) break;
        if (!std::exchange(segment->forgotten, true)) names.push_back(segment_name(segment->base));
    }
    return names;
}

void Log::Impl::reopen_if_ready() {
    if (!refusing || !in_flight.empty() || doubtful || !prepared) return;
    if (active.established) seal_active(durable);
    begin_segment();
    refusing.reset();
}

std::unique_ptr<LogChore> Log::take_chore() {
    auto& log = *impl_;
    if (log.chore_out || (log.retry_at && *log.retry_at > log.clock.steady_now())) return nullptr;
    std::unique_ptr<LogChore> chore;
    const bool near_end = log.write_position - log.active.base > log.active.capacity / 8;
    if (log.doubtful) {
        if (log.in_flight.empty()) {
            chore = std::make_unique<ReadBackChore>(log.doubtful, log.doubtful_span.base, log.doubtful_span.end);
        }
    } else if (!log.prepared && (log.refusing || !log.active.file || near_end)) {
        const auto& planned = log.plan_next();
        chore = std::make_unique<PrepareChore>(log.directory, planned.base, planned.capacity, log.long_past());
    } else if (!log.unwanted.empty()) {
        chore = std::make_unique<RemoveChore>(log.directory, std::exchange(log.unwanted, {}));
    } else {
        for (const auto& segment : log.sealed) {
            if (segment->memory && segment->end <= log.durable) {
                chore = std::make_unique<IndexChore>(log.directory, segment->memory);
                break;
            }
        }
        if (!chore) chore = log.take_key_chore();
    }
    log.chore_out = chore != nullptr;
    return chore;
}

Outcome Log::finished(std::unique_ptr<LogChore> chore) {
    auto& log = *impl_;
    HUFU_ASSERT(log.chore_out);
    log.chore_out = false;
    log.retry_at.reset();
    const auto later = [&log] { log.retry_at = log.clock.steady_now() + log.options.chore_retry; };
    Outcome outcome;
    if (auto* prepare = dynamic_cast<PrepareChore*>(chore.get())) {
        const bool wanted = log.plan && log.plan->base == prepare->base() && log.plan->capacity == prepare->capacity();
        if (!prepare->result) {
            later();
            const auto& error = prepare->result.error();
            const bool nothing_else = !log.active.file && log.in_flight.empty() &&
                                      (log.closed.empty() || log.closed.front()->segment_base == log.active.base);
            if (!log.refusing && nothing_else) {
                outcome = log.refuse_all(
                    Error{error.code(), Disposition::retry, "the log has no segment to write to, because: " + error.text()});
                log.plan.reset();
            }
        } else if (wanted) {
            log.prepared = std::move(*prepare->result);
        } else {
            log.unwanted.push_back(segment_name(prepare->base()));
        }
    } else if (auto* read_back = dynamic_cast<ReadBackChore*>(chore.get())) {
        if (!read_back->result) {
            later();
        } else {
            for (auto& damage : read_back->damages)
                log.report_damage(damage.log_offset, damage.bytes, std::move(damage.text));
            log.doubtful.reset();
        }
    } else if (auto* index = dynamic_cast<IndexChore*>(chore.get())) {
        if (!index->result) {
            later();
        } else {
            const auto found = std::find_if(log.sealed.begin(), log.sealed.end(),
                                            [&](const auto& segment) { return segment->base == index->base(); });
            if (found == log.sealed.end()) {
                log.unwanted.push_back(index_name(index->base()));
            } else {
                log.forget_memory(**found);
            }
        }
    } else if (auto* keys = dynamic_cast<KeysChore*>(chore.get())) {
        if (!keys->result) later();
        log.finish_key_chore(*keys);
    } else if (auto* remove = dynamic_cast<RemoveChore*>(chore.get()); remove != nullptr && !remove->result) {
        later();
        log.unwanted.insert(log.unwanted.end(), remove->names.begin(), remove->names.end());
    }
    log.reopen_if_ready();
    return outcome;
}

void Log::Impl::forget_memory(SealedSegment& segment) {
    // Where write_index put each queue's entries.
    std::uint64_t position = sizeof(IndexHeader) + segment.memory->queues.size() * sizeof(IndexRun);
    for (const auto& of_queue : segment.memory->queues) {
        for (auto& run : queues[of_queue.queue].runs) {
            if (run.segment == &segment) run.position = position;
        }
        position += of_queue.entries.size() * sizeof(IndexEntry);
    }
    segment.memory.reset();
    segment.index.reset();
}

}  // namespace hufu::broker
