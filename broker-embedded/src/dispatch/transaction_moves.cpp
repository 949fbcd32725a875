// What must outlive the segments it stands in: halves without a verdict, and the book that a restart begins with.
#include <algorithm>
#include <cstring>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t moved_at_once = 256;
/// A book with more would be too large for one record. A restart then reads on from the last one.
constexpr std::size_t book_entries_max = 100'000;
constexpr std::uint64_t book_every_least = 4'096;
constexpr std::uint32_t book_magic = 0x42545848U;  // "HXTB"

struct BookHeader {
    std::uint32_t magic = book_magic;
    std::uint32_t entries = 0;
    std::uint64_t next_home = 0;
    std::uint64_t next_moved = 0;
    std::uint64_t next_event = 0;
};
static_assert(sizeof(BookHeader) == 32);

struct BookEntry {
    std::uint64_t home_and_hash = 0;
    std::uint64_t place = 0;  ///< the highest bit: in the queue of moved ones
    std::int64_t due_ms = 0;  ///< since 1970
    std::uint32_t checks = 0;
    std::uint32_t state = 0;
};
static_assert(sizeof(BookEntry) == 32);
constexpr std::uint64_t moved_bit = 1ULL << 63U;

}  // namespace

bool Transactions::book_is_due() const {
    return events_since_book_ >= std::max<std::uint64_t>(book_every_least, 4 * book_.size()) &&
           book_.size() <= book_entries_max;
}

Result<void> Transactions::write_book(DispatchState& state) {
    BookHeader header;
    header.entries = static_cast<std::uint32_t>(book_.size());
    header.next_home = next_home_;
    header.next_moved = next_moved_;
    header.next_event = next_event_;
    std::string text{reinterpret_cast<const char*>(&header), sizeof header};
    const std::int64_t now_ms = wall_ms(state);
    const SteadyTime now = state.clock.steady_now();
    book_.for_each([&](const Half& half) {
        BookEntry entry;
        entry.home_and_hash = static_cast<std::uint64_t>(moved_code(half.home, half.hash));
        entry.place = half.place.offset | (half.place.moved ? moved_bit : 0);
        entry.due_ms = now_ms + std::chrono::duration_cast<std::chrono::milliseconds>(half.due - now).count();
        entry.checks = half.checks;
        entry.state = static_cast<std::uint32_t>(half.state);
        text.append(reinterpret_cast<const char*>(&entry), sizeof entry);
    });
    const auto appended = append_own(state, books_, 0, own_record(transaction_book_topic, text));
    if (!appended) return appended.error();
    book_log_offset_ = appended->log_offset;
    moved_ticket_ = appended->ticket;
    events_since_book_ = 0;
    return {};
}

void Transactions::load_book(DispatchState& state) {
    // The newest counts. Should it be damaged, an earlier one is true as well: more is read from the queues then.
    constexpr std::uint64_t tries = 64;
    const std::uint64_t end = log_.max_offset(books_);
    const std::uint64_t begin = std::max(log_.min_offset(books_), end > tries ? end - tries : 0);
    for (std::uint64_t offset = end; offset > begin; --offset) {
        state.read_bytes.clear();
        const ReadResult result = log_.read(books_, offset - 1, {.records_max = 1, .scan_max = 1}, {}, state.read_bytes);
        if (result.status != ReadStatus::found) continue;
        const auto record = remoting::decode_record(state.read_bytes);
        if (record && restore_book(state, record->body)) {
            book_log_offset_ = static_cast<std::uint64_t>(record->physical_offset);
            return;
        }
        state.alarm("a record of which transaction messages have no verdict cannot be read; an older one is taken");
    }
}

bool Transactions::restore_book(const DispatchState& state, std::string_view text) {
    BookHeader header;
    if (text.size() < sizeof header) return false;
    std::memcpy(&header, text.data(), sizeof header);
    text.remove_prefix(sizeof header);
    if (header.magic != book_magic || text.size() != header.entries * sizeof(BookEntry)) return false;
    for (std::size_t at = 0; at < text.size(); at += sizeof(BookEntry)) {
        BookEntry entry;
        std::memcpy(&entry, text.data() + at, sizeof entry);
        if (home_of_code(static_cast<std::int64_t>(entry.home_and_hash)) >= header.next_home) return false;
    }
    next_home_ = header.next_home;
    next_moved_ = header.next_moved;
    next_event_ = header.next_event;
    const std::int64_t now_ms = wall_ms(state);
    const SteadyTime now = state.clock.steady_now();
    for (; !text.empty(); text.remove_prefix(sizeof(BookEntry))) {
        BookEntry entry;
        std::memcpy(&entry, text.data(), sizeof entry);
        Half half;
        half.home = home_of_code(static_cast<std::int64_t>(entry.home_and_hash));
        half.hash = hash_of_code(static_cast<std::int64_t>(entry.home_and_hash));
        half.place = {entry.place & ~moved_bit, (entry.place & moved_bit) != 0};
        half.due = now + std::chrono::milliseconds{std::max<std::int64_t>(0, entry.due_ms - now_ms)};
        half.checks = static_cast<std::uint16_t>(entry.checks);
        half.state = static_cast<HalfState>(entry.state & 3U);
        restore_half(half);
    }
    return true;
}

// Retention.

Result<bool> Transactions::move_out_of(DispatchState& state, std::uint64_t log_offset) {
    if (mutant_active("pending_half_left_to_retention")) return true;
    const std::uint64_t first_kept = log_.offset_behind(halves_, log_offset);
    const std::uint64_t first_moved_kept = log_.offset_behind(moved_, log_offset);
    std::vector<Half> doomed;
    book_.for_each([&](const Half& half) {
        if (half.place.offset < (half.place.moved ? first_moved_kept : first_kept)) doomed.push_back(half);
    });
    if (!doomed.empty()) {
        std::sort(doomed.begin(), doomed.end(), [](const Half& one, const Half& other) { return one.home < other.home; });
        for (std::size_t at = 0; at < doomed.size() && at < moved_at_once; ++at)
            if (auto moved = move_one(state, doomed[at]); !moved) return moved.error();
        return false;
    }
    // The newest book must not go either, nor what a restart without it would begin with.
    const bool begun = next_home_ > 0;
    if (begun && book_log_offset_ < log_offset && book_.size() <= book_entries_max) {
        if (auto written = write_book(state); !written) return written.error();
    }
    return moved_ticket_ <= settled_ticket_;
}

Result<void> Transactions::move_one(DispatchState& state, const Half& half) {
    const auto loaded = load_half(half);
    Flight flight;
    flight.before.emplace_back(half.home, half);
    if (!loaded) {
        state.alarm("half message " + std::to_string(half.home) + " is damaged and cannot be kept");
        book_.erase(half.home);
        return {};
    }
    EventKind kind = EventKind::parked;
    if (half.state == HalfState::undelivered) kind = EventKind::undelivered;
    if (half.state == HalfState::conflict) kind = EventKind::conflict;
    std::string reason = "kept by retention";
    if (half.state != HalfState::pending) {
        // Its history goes with the segment: what it says last is said again.
        if (const auto events = find_events(state, decisions_, event_key(half.home)))
            for (const HalfEvent& event : *events)
                if (event.home.offset == half.home && event.kind == kind) {
                    reason = event.reason;
                    break;
                }
    }
    remoting::Record record = loaded->record;
    const std::string properties = properties_with_home(record, loaded->home);
    record.properties = properties;
    if (auto reserved = log_.reserve(remoting::record_size(record) + event_bytes_max, 3); !reserved) return reserved.error();
    Traits traits;
    static_cast<void>(read_properties(record.properties, traits));
    const auto appended =
        broker::store(state, moved_, record, traits, {.tags_code = moved_code(half.home, half.hash), .has_body_crc = true});
    HUFU_ASSERT(appended);  // room was reserved
    flight.ticket = appended->ticket;
    next_moved_ = appended->queue_offset + 1;
    if (half.state != HalfState::pending) {
        const auto event = append_event(state, decisions_, event_of(*loaded, kind, "broker", reason));
        HUFU_ASSERT(event);
        next_event_ = event->queue_offset + 1;
        ++events_since_book_;
        flight.ticket = event->ticket;
    }
    moved_ticket_ = flight.ticket;
    // It cannot be read before it is durable: verdicts wait.
    flight.kind = EventKind::resumed;
    if (!mutant_active("moving_half_not_waited_for")) {
        flight.decided.push_back(half.home);
        deciding_[half.home] = flight.ticket;
    }
    Half moved = half;
    moved.place = {appended->queue_offset, true};
    book_.update(moved);
    fly(std::move(flight));
    return {};
}

}  // namespace hufu::broker
