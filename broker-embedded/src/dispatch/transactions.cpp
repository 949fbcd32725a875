#include "transactions.hpp"

#include <algorithm>
#include <cstring>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/remoting/properties.hpp>

#include "names.hpp"
#include "state.hpp"
#include "timer_records.hpp"

namespace hufu::broker {

Transactions::Transactions(Log& log, MetricsRegistry& metrics, const TransactionOptions& options, SteadyTime start)
    : log_{log},
      halves_{log.open_queue(halves_topic, 0)},
      moved_{log.open_queue(moved_halves_topic, 0)},
      decisions_{log.open_queue(decisions_topic, 0)},
      books_{log.open_queue(transaction_book_topic, 0)},
      book_{start},
      check_rate_{options.checks_per_second, static_cast<std::uint64_t>(std::max(1.0, options.checks_per_second / 10))},
      pending_gauge_{
          metrics.gauge("hufu_broker_transactions_pending", "Half messages without a verdict that are asked about")},
      parked_gauge_{metrics.gauge("hufu_broker_transactions_parked",
                                  "Half messages that wait for an operator: no verdict within the budget, or committed to a "
                                  "topic that does not exist")},
      conflicts_gauge_{metrics.gauge("hufu_broker_transactions_conflicts",
                                     "Half messages that were rolled back before their commit came, and that nobody has "
                                     "looked at")},
      halves_count_{metrics.counter("hufu_broker_transactions_halves_total", "Half messages made durable")},
      busy_count_{
          metrics.counter("hufu_broker_transactions_busy_total", "Half messages refused because too many have no verdict")},
      commits_count_{metrics.counter("hufu_broker_transactions_commits_total", "Half messages committed")},
      rollbacks_count_{metrics.counter("hufu_broker_transactions_rollbacks_total", "Half messages rolled back")},
      refused_count_{metrics.counter("hufu_broker_transactions_refused_verdicts_total",
                                     "Verdicts refused because another one was first")},
      conflicts_count_{metrics.counter("hufu_broker_transactions_conflicts_total", "Commits that came after a rollback")},
      parked_count_{metrics.counter("hufu_broker_transactions_parked_total", "Times that a half message was parked")},
      checks_sent_count_{metrics.counter("hufu_broker_transactions_checks_sent_total", "Checks sent to producers")},
      checks_answered_count_{metrics.counter("hufu_broker_transactions_checks_answered_total", "Checks that were answered")},
      checks_unreachable_count_{
          metrics.counter("hufu_broker_transactions_checks_unreachable_total", "Checks that no producer was there for")},
      finish_{metrics.histogram("hufu_broker_transaction_finish_seconds", "From the half message to its verdict",
                                {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600, 86400})} {
}

// At start.

void Transactions::load(DispatchState& state) {
    load_book(state);
    const std::int64_t now_ms = wall_ms(state);
    const SteadyTime now = state.clock.steady_now();
    const std::uint64_t first = next_home_;
    std::vector<bool> decided = decided_since_book();
    const HalvesRead halves = load_halves(decided, now_ms, now);
    log_.for_each_entry(moved_, next_moved_, [&](const QueueEntry& entry) {
        Half half;
        half.home = home_of_code(entry.tags_code);
        half.hash = hash_of_code(entry.tags_code);
        half.due = now;
        if (const auto known = book_.find(half.home)) half = *known;
        half.place = {entry.queue_offset, true};
        restore_half(half);
        if (half.home >= first && half.home - first < decided.size())
            decided[half.home - first] = false;  // it is in the book
        return true;
    });
    load_events(state, decided);
    next_home_ = log_.max_offset(halves_);
    next_moved_ = log_.max_offset(moved_);
    next_event_ = log_.max_offset(decisions_);
    // How large those are that the book had is not in the indexes that were read.
    pending_bytes_ = halves.count == 0 ? 0 : halves.bytes / halves.count * book_.size();
    if (book_.size() > 0) next_at_ = SteadyTime{};
    note_counts();
}

/// Which of the halves behind the book have their last word: most, nearly always, and those need not come into the book at all.
std::vector<bool> Transactions::decided_since_book() {
    std::vector<bool> decided;
    if (mutant_active("decisions_forgotten_at_start")) return decided;
    const std::uint64_t end = log_.max_offset(halves_);
    decided.resize(end - std::min(end, next_home_));
    log_.for_each_entry(decisions_, next_event_, [&](const QueueEntry& entry) {
        const std::uint64_t home = home_of_event_code(entry.tags_code);
        const EventKind kind = kind_of_event_code(entry.tags_code);
        const bool last = kind == EventKind::commit || kind == EventKind::rollback || kind == EventKind::dismissed;
        if (last && home >= next_home_ && home < end) decided[home - next_home_] = true;
        return true;
    });
    return decided;
}

Transactions::HalvesRead Transactions::load_halves(const std::vector<bool>& decided, std::int64_t now_ms, SteadyTime now) {
    constexpr std::size_t at_once = 1024;
    const auto open = static_cast<std::size_t>(std::count(decided.begin(), decided.end(), false));
    book_.reserve(book_.size() + open);
    HalvesRead read;
    std::vector<Half> halves;  // the book that was read has none from there on
    halves.reserve(at_once);
    log_.for_each_entry(halves_, next_home_, [&](const QueueEntry& entry) {
        ++read.count;
        read.bytes += entry.size;
        if (const auto at = entry.queue_offset - next_home_; at < decided.size() && decided[at]) return true;
        Half& half = halves.emplace_back();
        half.home = entry.queue_offset;
        half.place = {entry.queue_offset, false};
        half.hash = hash_of_code(entry.tags_code);
        half.due = now + std::chrono::milliseconds{std::max<std::int64_t>(0, due_of_code(entry.tags_code) - now_ms)};
        if (halves.size() < at_once) return true;
        book_.add_all(halves);
        halves.clear();
        return true;
    });
    book_.add_all(halves);
    return read;
}

void Transactions::restore_half(const Half& half) {
    if (book_.find(half.home)) {
        book_.update(half);
    } else {
        book_.add(half);
    }
}

void Transactions::load_events(DispatchState& state, const std::vector<bool>& left_out) {
    if (mutant_active("decisions_forgotten_at_start")) return;
    std::unordered_map<std::uint64_t, Half> gone;
    std::unordered_set<std::uint64_t> old_conflicts;  // decided before the book was written
    const SteadyTime now = state.clock.steady_now();
    const auto set = [&](std::uint64_t home, HalfState to) {
        auto half = book_.find(home);
        if (const auto decided = gone.find(home); !half && to == HalfState::conflict && decided != gone.end())
            half = decided->second;
        if (!half && to == HalfState::conflict) old_conflicts.insert(home);
        if (!half) return;
        half->state = to;
        half->due = now;
        restore_half(*half);
    };
    log_.for_each_entry(decisions_, next_event_, [&](const QueueEntry& entry) {
        ++events_since_book_;
        const std::uint64_t home = home_of_event_code(entry.tags_code);
        const bool in_book = home < next_home_ || home - next_home_ >= left_out.size() || !left_out[home - next_home_];
        switch (kind_of_event_code(entry.tags_code)) {
            case EventKind::commit:
            case EventKind::rollback:
            case EventKind::dismissed:
                old_conflicts.erase(home);
                if (!in_book) break;
                if (const auto half = book_.find(home)) gone.insert_or_assign(home, *half);
                book_.erase(home);
                break;
            case EventKind::parked: set(home, HalfState::parked); break;
            case EventKind::resumed: set(home, HalfState::pending); break;
            case EventKind::undelivered: set(home, HalfState::undelivered); break;
            case EventKind::conflict: set(home, HalfState::conflict); break;
        }
        return true;
    });
    for (const std::uint64_t home : old_conflicts)
        if (auto half = half_at_home(home)) {
            half->state = HalfState::conflict;
            restore_half(*half);
        }
    // Halves that are sent again after their verdict are refused. From before the start, only their short hashes are known.
    constexpr std::uint64_t remembered = 65'536;
    const std::uint64_t end = log_.max_offset(halves_);
    log_.for_each_entry(halves_, std::max(log_.min_offset(halves_), end > remembered ? end - remembered : 0),
                        [&](const QueueEntry& entry) {
                            early_hashes_.push_back(hash_of_code(entry.tags_code));
                            return true;
                        });
    std::sort(early_hashes_.begin(), early_hashes_.end());
}

std::optional<Half> Transactions::half_at_home(std::uint64_t home) {
    std::optional<Half> half;
    if (home < log_.min_offset(halves_)) return half;
    log_.for_each_entry(halves_, home, [&](const QueueEntry& entry) {
        if (entry.queue_offset != home) return false;
        half.emplace();
        half->home = home;
        half->place = {home, false};
        half->hash = hash_of_code(entry.tags_code);
        return false;
    });
    return half;
}

// Reading.

std::optional<LoadedHalf> Transactions::load_half(const Half& half) {
    LoadedHalf loaded;
    loaded.half = half;
    if (const auto recent = half.place.moved ? std::span<const std::byte>{} : recent_.find(half.home); !recent.empty()) {
        loaded.bytes = recent;
    } else if (const ReadResult result = log_.read(half.place.moved ? moved_ : halves_, half.place.offset,
                                                   {.records_max = 1, .scan_max = 1}, {}, loaded.own_bytes);
               result.status != ReadStatus::found) {
        return std::nullopt;
    } else {
        loaded.bytes = loaded.own_bytes;
    }
    const auto record = remoting::decode_record(loaded.bytes);
    if (!record) return std::nullopt;
    const auto home = home_of(*record);
    if (!home || home->offset != half.home) return std::nullopt;
    loaded.record = *record;
    loaded.home = *home;
    const HalfTraits traits = read_half_traits(record->properties);
    loaded.group = traits.group;
    loaded.transaction = traits.transaction;
    return loaded;
}

std::vector<LoadedHalf> Transactions::load_transaction(DispatchState& state, std::string_view group,
                                                       std::string_view transaction) {
    std::vector<LoadedHalf> halves;
    // Some more than a transaction may have: others can share its hash.
    for (const std::uint64_t home :
         book_.with_hash(short_hash(transaction_hash(transaction)), 2 * state.options.transactions.halves_max)) {
        auto loaded = load_half(*book_.find(home));
        if (!loaded || loaded->transaction != transaction || (!group.empty() && loaded->group != group)) continue;
        halves.push_back(std::move(*loaded));
    }
    return halves;
}

HalfEvent Transactions::event_of(const LoadedHalf& half, EventKind kind, std::string_view by,
                                 std::string_view reason) const {
    HalfEvent event;
    event.kind = kind;
    event.home = half.home;
    event.group = half.group;
    event.transaction = half.transaction;
    event.by = by;
    event.reason = reason;
    return event;
}

// Settling.

void Transactions::fly(Flight flight) {
    pending_bytes_ += static_cast<std::uint64_t>(flight.pending_bytes);
    flights_.push_back(std::move(flight));
}

void Transactions::settled(DispatchState& state, const Outcome& outcome, SteadyTime now) {
    if (outcome.through == 0) return;
    settled_ticket_ = outcome.through;
    if (flights_.empty() && waiting_.empty()) return;
    if (!outcome.durable) {
        refuse_all(state, refusal_of(outcome.error));
    } else {
        while (!flights_.empty() && flights_.front().ticket <= outcome.through) {
            Flight flight = std::move(flights_.front());
            flights_.pop_front();
            land(state, flight, now);
        }
    }
    note_counts();
    run_waiting(state, outcome.through);
}

void Transactions::land(DispatchState& state, Flight& flight, SteadyTime now) {
    if (flight.stored) {
        fresh_.erase(*flight.stored);
        halves_count_.add();
    }
    for (const std::uint64_t home : flight.decided) {
        deciding_.erase(home);
        if (flight.kind == EventKind::commit) commits_count_.add();
        if (flight.kind == EventKind::rollback) rollbacks_count_.add();
    }
    if (!flight.decided.empty()) {
        const auto found = deciding_transactions_.find(flight.hash);
        if (found != deciding_transactions_.end() && found->second == flight.ticket) deciding_transactions_.erase(found);
    }
    for (const QueueHandle handle : flight.grown) {
        state.messages_stored.add();
        QueueWaits& queue = state.queue(handle);
        state.stats.put(handle, now, {1, flight.bytes / flight.grown.size(), 1});
        queue.bytes_in += flight.bytes / flight.grown.size();
        if (queue.grew) continue;
        queue.grew = true;
        state.grown.push_back(handle);
    }
    if (!flight.grown.empty()) state.bytes_stored.add(flight.bytes);
    if (flight.then) flight.then(state, Refusal{});
}

void Transactions::refuse_all(DispatchState& state, const Refusal& refusal) {
    std::deque<Flight> flights = std::move(flights_);
    flights_.clear();
    for (auto flight = flights.rbegin(); flight != flights.rend(); ++flight) {
        if (flight->stored) fresh_.erase(*flight->stored);
        if (mutant_active("refused_verdict_kept") && !flight->decided.empty()) continue;
        pending_bytes_ -= static_cast<std::uint64_t>(flight->pending_bytes);
        for (auto change = flight->before.rbegin(); change != flight->before.rend(); ++change) {
            const auto& [home, before] = *change;
            if (!before) {
                book_.erase(home);
            } else {
                restore_half(*before);
            }
        }
    }
    deciding_.clear();
    deciding_transactions_.clear();
    recent_.clear();  // others will get their offsets
    next_home_ = log_.max_offset(halves_);
    next_moved_ = log_.max_offset(moved_);
    next_event_ = log_.max_offset(decisions_);
    book_log_offset_ = 0;
    if (book_.pending() > 0) next_at_ = SteadyTime{};
    for (const Flight& flight : flights)
        if (flight.then) flight.then(state, refusal);
}

void Transactions::run_waiting(DispatchState& state, std::uint64_t through) {
    // What is put back waits for something later: it is not looked at again in this round.
    std::deque<Waiting> ready;
    while (!waiting_.empty() && waiting_.front().ticket <= through) {
        ready.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
    }
    for (Waiting& one : ready) decide(state, std::move(one.request), std::move(one.then));
}

void Transactions::note_counts() {
    pending_gauge_.set(static_cast<std::int64_t>(book_.count(HalfState::pending)));
    parked_gauge_.set(static_cast<std::int64_t>(book_.count(HalfState::parked) + book_.count(HalfState::undelivered)));
    conflicts_gauge_.set(static_cast<std::int64_t>(book_.count(HalfState::conflict)));
}

double Transactions::oldest_pending_s(const DispatchState& state) {
    std::optional<Half> oldest;
    book_.for_each([&](const Half& half) {
        if (half.state == HalfState::pending && (!oldest || half.home < oldest->home)) oldest = half;
    });
    const auto loaded = oldest ? load_half(*oldest) : std::nullopt;
    return loaded ? static_cast<double>(std::max<std::int64_t>(0, wall_ms(state) - loaded->home.stored_ms)) / 1000 : 0;
}

std::string who_says(const VerdictRequest& request) {
    return request.peer ? producer_text(*request.peer, request.from_check) : request.administrator;
}

std::string_view to_string(VerdictAnswer::State state) noexcept {
    switch (state) {
        case VerdictAnswer::State::pending: return "pending";
        case VerdictAnswer::State::committed: return "committed";
        case VerdictAnswer::State::rolled_back: return "rolled_back";
        case VerdictAnswer::State::parked: return "parked";
    }
    return "unknown";
}

Result<bool> move_transactions_out_of(DispatchState& state, std::uint64_t log_offset) {
    return state.transactions.move_out_of(state, log_offset);
}

}  // namespace hufu::broker
