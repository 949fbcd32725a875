// Appending: records join the open group; groups are taken, written, and settle in order.
#include <algorithm>
#include <array>
#include <cstring>

#include <hufu/broker/log_record.hpp>
#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "log/crc32c.hpp"
#include "log/impl.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t chunk_bytes = 256U << 10U;
constexpr std::size_t spare_chunks_max = 16;
constexpr std::uint64_t group_bytes_max = 4U << 20U;
constexpr std::array<std::byte, sector_bytes> zeros{};

std::uint64_t now_ms(const Clock& clock) {
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(clock.system_now().time_since_epoch()).count();
    return since > 0 ? static_cast<std::uint64_t>(since) : 0;
}

}  // namespace

void LogGroup::seal(std::uint64_t epoch, std::uint64_t durable) {
    header.records = static_cast<std::uint32_t>(table.size());
    header.epoch = epoch;
    header.log_offset = log_offset;
    header.durable = durable;
    header.record_bytes = round_up(record_bytes, 8);
    header.crc = group_crc(header, table);
    parts.clear();
    parts.push_back(std::as_bytes(std::span{&header, 1}));
    for (const auto& chunk : chunks) {
        if (chunk.used > 0) parts.emplace_back(chunk.bytes.get(), chunk.used);
    }
    if (header.record_bytes > record_bytes) parts.emplace_back(zeros.data(), header.record_bytes - record_bytes);
    parts.push_back(std::as_bytes(std::span{table}));
    const auto used = sizeof header + header.record_bytes + table.size() * sizeof(TableEntry);
    if (bytes() > used) parts.emplace_back(zeros.data(), bytes() - used);
}

// Memory of groups.

void Log::Impl::open_group() {
    if (spare_groups.empty()) {
        open = std::make_unique<LogGroup>();
    } else {
        open = std::move(spare_groups.back());
        spare_groups.pop_back();
    }
    open->segment_base = active.base;
    open->log_offset = write_position;
    open->last_ticket = last_ticket;
}

void Log::Impl::close_group() {
    reserved_bytes = reserved_records = 0;
    if (!open) return;
    active.keys.add_mark(open->log_offset - active.base);
    write_position = open->end();
    pending_bytes += open->bytes();
    closed.push_back(std::move(open));
}

void Log::Impl::recycle(std::unique_ptr<LogGroup> group) {
    for (auto& chunk : group->chunks) {
        if (chunk.capacity == chunk_bytes && spare_chunks.size() < spare_chunks_max) {
            chunk.used = 0;
            spare_chunks.push_back(std::move(chunk));
        }
    }
    group->chunks.clear();
    group->table.clear();
    group->parts.clear();
    group->file.reset();
    group->gate.reset();
    group->record_bytes = 0;
    group->snapshot = false;
    spare_groups.push_back(std::move(group));
}

std::byte* Log::Impl::chunk_space(std::size_t bytes) {
    auto& chunks = open->chunks;
    if (chunks.empty() || chunks.back().capacity - chunks.back().used < bytes) {
        if (bytes <= chunk_bytes && !spare_chunks.empty()) {
            chunks.push_back(std::move(spare_chunks.back()));
            spare_chunks.pop_back();
        } else {
            const auto capacity = std::max(bytes, chunk_bytes);
            chunks.push_back({std::make_unique_for_overwrite<std::byte[]>(capacity), capacity, 0});
        }
    }
    auto& chunk = chunks.back();
    auto* at = chunk.bytes.get() + chunk.used;
    chunk.used += bytes;
    return at;
}

// Appending.

bool Log::Impl::open_fits(std::uint64_t bytes, std::uint64_t records) const noexcept {
    const auto at = open ? open->log_offset : write_position;
    const auto size =
        open ? group_bytes(open->record_bytes + bytes, open->table.size() + records) : group_bytes(bytes, records);
    return at + size <= active.limit();
}

Result<void> Log::Impl::make_room(std::uint64_t bytes, std::uint64_t records) {
    if (open && bytes <= reserved_bytes && records <= reserved_records) {
        reserved_bytes -= bytes;
        reserved_records -= records;
        return {};
    }
    reserved_bytes = reserved_records = 0;
    if (refusing) return *refusing;
    const auto alone = group_bytes(bytes, records);
    if (alone > options.pending_bytes_max) {
        return Error{ErrorCode::too_large, Disposition::reject,
                     std::to_string(records) + " records that take " + std::to_string(alone) +
                         " bytes of the log cannot be stored in one piece of at most " +
                         std::to_string(options.pending_bytes_max) + "; split them"};
    }
    const auto waiting = pending_bytes + (open ? open->bytes() : 0);
    if (waiting + bytes > options.pending_bytes_max) {
        return Error{ErrorCode::busy, Disposition::retry,
                     "the log has " + std::to_string(waiting) + " bytes waiting for the disk; try again in a moment"};
    }
    if (open && open->record_bytes + bytes > group_bytes_max) close_group();
    if (!open_fits(bytes, records)) {
        if (!active.established || active.file == nullptr) {
            return Error{ErrorCode::busy, Disposition::retry,
                         "the next segment of the log is still being prepared; try again in a moment"};
        }
        roll(alone);
        HUFU_ASSERT(open_fits(bytes, records));
    }
    if (!open) open_group();
    return {};
}

std::span<std::byte> Log::Impl::add_record(RecordKind kind, std::uint32_t queue, std::int64_t tags_code,
                                           std::span<const std::span<const std::byte>> parts, std::uint64_t& log_offset) {
    std::size_t size = 0;
    for (const auto& part : parts) size += part.size();
    auto* at = chunk_space(size);
    const std::span<std::byte> record{at, size};
    for (const auto& part : parts) {
        if (!part.empty()) std::memcpy(at, part.data(), part.size());
        at += part.size();
    }
    log_offset = open->log_offset + sizeof(GroupHeader) + open->record_bytes;
    open->record_bytes += size;
    open->table.push_back({static_cast<std::uint32_t>(size), 0, queue, static_cast<std::uint32_t>(kind), tags_code});
    open->last_ticket = ++last_ticket;
    return record;
}

void Log::Impl::finish_record(std::span<const std::byte> record) { open->table.back().crc = crc32c(0, record); }

Result<void> Log::reserve(std::uint64_t bytes, std::uint64_t records) {
    auto& log = *impl_;
    // Queues may bring their names, a few of them made only now; each state entry the lengths of its two strings.
    constexpr std::uint64_t new_names = 8;
    constexpr std::uint64_t new_name_bytes = 512;
    bytes += log.unannounced_bytes + new_names * new_name_bytes + records * 2 * sizeof(std::uint32_t);
    records += log.unannounced + new_names;
    log.reserved_bytes = log.reserved_records = 0;
    if (auto room = log.make_room(bytes, records); !room) return room;
    log.reserved_bytes = bytes;
    log.reserved_records = records;
    return {};
}

Result<std::uint64_t> Log::Impl::append_system(RecordKind kind, std::string_view payload) {
    if (payload.size() > options.record_bytes_max) {
        return Error{ErrorCode::too_large, Disposition::reject,
                     "an entry of " + std::to_string(payload.size()) + " bytes is above the log's limit of " +
                         std::to_string(options.record_bytes_max)};
    }
    if (auto room = make_room(payload.size(), 1); !room) return room.error();
    const auto part = bytes_of(payload);
    std::uint64_t log_offset = 0;
    finish_record(add_record(kind, 0, 0, {&part, 1}, log_offset));
    return last_ticket;
}

Result<void> Log::Impl::make_room_in(QueueHandle handle, std::uint64_t bytes) {
    const auto& queue = queues[handle.value];
    return queue.announced ? make_room(bytes, 1) : make_room(bytes + name_bytes(queue), 2);
}

void Log::Impl::announce(QueueHandle handle) {
    auto& queue = queues[handle.value];
    if (queue.announced) return;
    const auto name = encode_queue(queue.queue_id, queue.topic);
    const auto part = bytes_of(name);
    std::uint64_t log_offset = 0;
    finish_record(add_record(RecordKind::queue, handle.value, 0, {&part, 1}, log_offset));
    queue.announced = true;
    --unannounced;
    unannounced_bytes -= name_bytes(queue);
}

Appended Log::Impl::next_place(QueueHandle handle) {
    last_stored_ms = std::max(last_stored_ms, now_ms(clock));
    return {.ticket = 0, .queue_offset = queues[handle.value].next, .log_offset = 0, .stored_at_ms = last_stored_ms};
}

Result<Appended> Log::append(QueueHandle handle, std::int64_t tags_code, std::span<const std::span<const std::byte>> parts,
                             std::span<const std::uint64_t> keys) {
    auto& log = *impl_;
    HUFU_ASSERT(handle.value < log.queues.size());
    std::size_t size = 0;
    for (const auto& part : parts) size += part.size();
    if (size < log_record::bytes_min || size > log.options.record_bytes_max) {
        return Error{size < log_record::bytes_min ? ErrorCode::invalid_argument : ErrorCode::too_large, Disposition::reject,
                     "a record of " + std::to_string(size) + " bytes is outside of the log's limits, " +
                         std::to_string(log_record::bytes_min) + " to " + std::to_string(log.options.record_bytes_max)};
    }
    if (auto room = log.make_room_in(handle, size); !room) return room.error();
    log.announce(handle);
    auto& queue = log.queues[handle.value];
    auto appended = log.next_place(handle);
    const auto record = log.add_record(RecordKind::message, handle.value, tags_code, parts, appended.log_offset);
    appended.ticket = log.last_ticket;
    ++queue.next;
    log_record::store_u64(record.data() + log_record::queue_offset_at, appended.queue_offset);
    log_record::store_u64(record.data() + log_record::log_offset_at, appended.log_offset);
    log_record::store_u64(record.data() + log_record::store_timestamp_at(record), appended.stored_at_ms);
    log.finish_record(record);
    queue.active.push_back({static_cast<std::uint32_t>(appended.log_offset - log.active.base),
                            static_cast<std::uint32_t>(size), log.open->table.back().crc, 0, tags_code});
    if (log.options.keys_of) log.note_keys(appended.log_offset - log.active.base, keys, appended.stored_at_ms);
    return appended;
}

Result<Appended> Log::append(QueueHandle queue, std::int64_t tags_code, std::span<const std::byte> record,
                             std::span<const std::uint64_t> keys) {
    return append(queue, tags_code, std::span<const std::span<const std::byte>>{&record, 1}, keys);
}

// Groups on their way.

LogGroup* Log::take_group() {
    auto& log = *impl_;
    if (log.refusing || log.in_flight.size() >= log.options.groups_in_flight_max) return nullptr;
    if (log.closed.empty()) {
        if (!log.open || log.open->table.empty()) return nullptr;
        if (!log.in_flight.empty() && log.open->bytes() < log.options.next_group_bytes_min) return nullptr;
        log.close_group();
    }
    auto& next = log.closed.front();
    if (!log.in_flight.empty()) {
        // Groups of two files, or one behind a snapshot that may be lost, could survive a crash without what precedes them.
        const auto& last = *log.in_flight.back();
        if (last.segment_base != next->segment_base || last.snapshot) return nullptr;
    }
    if (!next->file) {
        HUFU_ASSERT(next->segment_base == log.active.base);
        if (!log.active.file) {
            if (!log.prepared) return nullptr;
            log.active.file = std::move(log.prepared);
            log.plan.reset();
        }
        next->file = log.active.file;
        next->gate = log.active.gate;
    }
    next->seal(log.epoch, log.durable);
    log.in_flight.push_back(std::move(next));
    log.closed.pop_front();
    return log.in_flight.back().get();
}

Result<void> Log::write(LogGroup& group) { return group.file->write_at(group.log_offset - group.segment_base, group.parts); }

Result<void> Log::sync(LogGroup& group) {
    if (mutant_active("ack_before_sync")) return {};
    const std::scoped_lock lock{group.gate->mutex};
    if (group.gate->failed) {
        return Error{ErrorCode::fenced, Disposition::retry,
                     "an earlier sync of the segment failed; what it lost is not known"};
    }
    auto synced = group.file->sync_data();
    if (!synced && mutant_active("retry_after_failed_fsync")) synced = group.file->sync_data();
    group.gate->failed = !synced;
    return synced;
}

Outcome Log::completed(LogGroup* group) {
    auto& log = *impl_;
    HUFU_ASSERT(!log.in_flight.empty() && log.in_flight.front().get() == group);
    auto done = std::move(log.in_flight.front());
    log.in_flight.pop_front();
    Outcome outcome;
    if (!log.refusing) {
        log.pending_bytes -= done->bytes();
        log.durable = done->end();
        for (const auto& entry : done->table) {
            if (takes_offset(entry.kind)) ++log.queues[entry.queue].durable_next;
        }
        if (done->snapshot) log.active.established = true;
        if (log.dropping_waits && log.dropping_ticket <= done->last_ticket) {
            log.dropping_waits = false;
            log.unwanted.insert(log.unwanted.end(), log.unwanted_later.begin(), log.unwanted_later.end());
            log.unwanted_later.clear();
        }
        outcome = {done->last_ticket, true, {}};
    }
    log.recycle(std::move(done));
    log.reopen_if_ready();
    return outcome;
}

Outcome Log::failed(LogGroup* group, const Error& error) {
    auto& log = *impl_;
    HUFU_ASSERT(!log.in_flight.empty() && log.in_flight.front().get() == group);
    Outcome outcome;
    if (!log.refusing) {
        const auto code = error.code() == ErrorCode::out_of_space ? ErrorCode::out_of_space : ErrorCode::fenced;
        log.doubtful = group->file;
        log.doubtful_span = {group->segment_base, std::max(log.durable, group->segment_base)};
        outcome = log.refuse_all(
            Error{code, Disposition::retry,
                  "the log is closed until its tail is read back and a new segment is begun, because: " + error.text()});
    }
    log.recycle(std::move(log.in_flight.front()));
    log.in_flight.pop_front();
    log.reopen_if_ready();
    return outcome;
}

Outcome Log::Impl::refuse_all(const Error& error) {
    refusing = error;
    reserved_bytes = reserved_records = 0;
    if (open) recycle(std::move(open));
    while (!closed.empty()) {
        recycle(std::move(closed.front()));
        closed.pop_front();
    }
    pending_bytes = 0;
    for (auto& queue : queues) {
        queue.next = queue.durable_next;
        queue.hidden_below = std::min(queue.hidden_below, queue.next);
        if (queue.next >= queue.active_first) {
            queue.active.resize(queue.next - queue.active_first);
            continue;
        }
        // What was refused reaches back into a segment that had been left, but was not durable to its end.
        queue.active.clear();
        queue.active_first = queue.next;
        while (!queue.runs.empty() && queue.runs.back().first + queue.runs.back().count > queue.next) {
            auto& run = queue.runs.back();
            run.count = queue.next > run.first ? queue.next - run.first : 0;
            run.segment->memory->queues[run.slot].entries.resize(run.count);
            if (run.count == 0) queue.runs.pop_back();
        }
    }
    if (active.established && !mutant_active("keys_outlive_refusal")) active.keys.cut(durable - active.base);
    if (!active.established) {
        if (!sealed.empty() && sealed.back()->end > durable) {
            sealed.back()->end = durable;
            sealed.back()->memory->end = durable;
            if (sealed.back()->key_memory) sealed.back()->key_memory->cut(durable - sealed.back()->base);
        }
        if (active.file) unwanted.push_back(segment_name(active.base));
        active.file.reset();
    }
    if (dropping_waits) {
        // The new start is in `start`, so the next snapshot carries it.
        dropping_waits = false;
        unwanted_later.clear();
    }
    return {last_ticket, false, error};
}

std::uint64_t Log::end_offset() const noexcept {
    const auto& log = *impl_;
    return log.open ? log.open->log_offset + sizeof(GroupHeader) + log.open->record_bytes : log.write_position;
}

bool Log::busy() const noexcept {
    const auto& log = *impl_;
    return !log.in_flight.empty() || !log.closed.empty() || (log.open && !log.open->table.empty());
}

bool Log::roomy() const noexcept {
    const auto& log = *impl_;
    if (log.refusing || !log.active.established) return false;
    return log.prepared != nullptr || log.write_position - log.active.base < log.active.capacity / 2;
}

bool Log::congested() const noexcept {
    const auto& log = *impl_;
    return log.refusing || log.pending_bytes + (log.open ? log.open->bytes() : 0) > log.options.pending_bytes_max / 2 ||
           (!log.active.established && !log.open_fits(log.options.record_bytes_max, 2));
}

}  // namespace hufu::broker
