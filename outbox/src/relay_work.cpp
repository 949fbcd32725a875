// What the relay does with the lane while it owns it.
#include "relay_machine_impl.hpp"

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::outbox {
namespace {

/// The broker counts as reachable while something was confirmed within this time.
constexpr std::chrono::seconds alive_for{2};
/// In an outage: how often a few rows are moved out of the way to see whether others can pass.
constexpr std::chrono::seconds trickle_every{1};
constexpr std::size_t moved_at_once = 1'000;

}  // namespace

// Reading

void RelayMachine::Impl::ask_read(SteadyTime now, RelayActions& actions) {
    if (!claim || read_channel.busy || stopping) return;
    if (now < read_channel.not_before) return at(actions, read_channel.not_before);
    if (!started) {
        begin(read_channel);
        actions.read = StartReading{};
        return;
    }
    if (!listed || !trusted(now)) return;
    if (options.late_check.count() > 0) {
        if (now >= next_late_check && !tracker->in_existence_mode()) {
            next_late_check = now + options.late_check;
            CountUnknown count{.upto = tracker->last(), .known = keys->known().sorted(tracker->last())};
            const std::vector<Sequence> holes = tracker->holes();
            const auto middle = static_cast<std::ptrdiff_t>(count.known.size());
            count.known.insert(count.known.end(), holes.begin(), holes.end());
            std::inplace_merge(count.known.begin(), count.known.begin() + middle, count.known.end());
            begin(read_channel);
            actions.read = std::move(count);
            return;
        }
        at(actions, next_late_check);
    }
    if (wake) next_read = std::min(next_read, now);
    if (now < next_read) return at(actions, next_read);
    const std::optional<std::size_t> limit = read_limit(now, actions);
    if (!limit) return;
    if (std::exchange(wake, false)) idle_delay = options.poll_min;
    read_request = tracker->request(keys->known(), *limit);
    begin(read_channel);
    actions.read = read_request;
}

std::optional<std::size_t> RelayMachine::Impl::read_limit(SteadyTime now, RelayActions& actions) {
    const std::size_t held = keys->known().size();
    const std::size_t bytes = keys->bytes();
    const bool full = held >= options.window_rows || bytes >= options.window_bytes;
    if (keys->parks_queued() * 2 >= options.window_rows) return std::nullopt;
    // Rows of failing keys fill the memory: others shall flow, so these go to the lot. When nothing at all is confirmed
    // the broker is away, moving everything would be in vain, and only a trickle looks for rows that can pass.
    const bool crowded =
        (held * 2 >= options.window_rows || bytes * 2 >= options.window_bytes) && keys->waiting() * 2 >= held;
    overflow = crowded;
    if (crowded && now - last_confirmation > alive_for) {
        if (now < next_trickle) {
            at(actions, next_trickle);
            return std::nullopt;
        }
        next_trickle = now + trickle_every;
        return std::min(options.parked_rows, options.page_rows);
    }
    if (full) {
        if (!crowded) return std::nullopt;
        return std::min(options.parked_rows, options.page_rows);
    }
    const std::size_t room = std::min(options.window_rows - held, (options.window_bytes - bytes) / average_bytes + 1);
    const std::size_t limit = std::min(options.page_rows, room);
    // Not drop by drop while larger room is about to come free.
    if (limit * 4 < options.page_rows && (batches_out > 0 || settle_channel.busy)) return std::nullopt;
    return limit;
}

void RelayMachine::read_done(Result<LaneReply> reply, SteadyTime now) {
    Impl& self = *impl_;
    HUFU_ASSERT(self.read_channel.busy);
    if (!self.end(self.read_channel)) return;
    if (reply.has_error()) {
        self.failed(self.read_channel, reply.error(), now);
    } else {
        self.read_channel.failures = 0;
        if (auto* page = std::get_if<Page>(&*reply)) {
            self.take_page(std::move(*page), now);
        } else if (auto* start = std::get_if<LaneStart>(&*reply)) {
            self.take_start(*start, now);
        } else if (const std::uint64_t late = std::get<std::uint64_t>(*reply); late > 0) {
            self.figures.late_rows += late;
            self.tracker->distrust();
            self.next_read = now;
        }
    }
    if (!self.keys) return;
    for (const Sequence seq : self.forgotten) self.keys->known().erase(seq);
    self.forgotten.clear();
}

void RelayMachine::Impl::take_start(const LaneStart& start, SteadyTime now) {
    if (start.identity != claim->identity && !mutant_active("position_trusted_after_failover")) {
        lose(Ownership::moved_on, now);
        return;
    }
    tracker->start(start);
    started = true;
    next_read = now;
}

void RelayMachine::Impl::take_page(Page page, SteadyTime now) {
    if (page.identity != claim->identity && !mutant_active("position_trusted_after_failover")) {
        lose(Ownership::moved_on, now);
        return;
    }
    const bool full = page.rows.size() >= read_request.limit;
    const std::vector<std::size_t> fresh = tracker->take(read_request, page, keys->known());
    const std::size_t bytes_before = keys->bytes();
    for (const std::size_t index : fresh) keys->admit(std::move(page.rows[index]), overflow);
    figures.read += fresh.size();
    if (!fresh.empty() && keys->bytes() > bytes_before) {
        const std::size_t average = (keys->bytes() - bytes_before) / fresh.size();
        average_bytes = std::max<std::size_t>((average_bytes * 3 + average) / 4, 1);
    }
    caught_up = caught_up || !full;
    if (full) {
        next_read = now;
    } else if (!fresh.empty()) {
        idle_delay = options.poll_min;
        next_read = now + idle_delay;
    } else {
        next_read = now + idle_delay;
        idle_delay = std::min(idle_delay * 2, options.poll_max);
    }
}

void RelayMachine::Impl::forget(const std::vector<Sequence>& seqs) {
    if (read_channel.busy) {
        forgotten.insert(forgotten.end(), seqs.begin(), seqs.end());
    } else {
        for (const Sequence seq : seqs) keys->known().erase(seq);
    }
}

// Sending

void RelayMachine::Impl::send(SteadyTime now, RelayActions& actions) {
    if (stopping || !keys->has_ready() || !trusted(now)) return;
    actions.publish = keys->take_ready();
    batches_out += actions.publish.size();
    for (const auto& batch : actions.publish) {
        batch->session = session;
        batch->outcomes.resize(batch->messages.size());
        for (const PublishBatch::Ticket& ticket : batch->tickets) figures.resent += ticket.again ? 1 : 0;
        if (!mutant_active("settle_before_confirm")) continue;
        for (const PublishBatch::Ticket& ticket : batch->tickets) {
            if (!ticket.from_lot) keys->confirmed().push_back(ticket.seq);
        }
    }
}

void RelayMachine::published(std::unique_ptr<PublishBatch> batch, SteadyTime now) {
    Impl& self = *impl_;
    HUFU_ASSERT(self.batches_out > 0);
    --self.batches_out;
    if (batch->session != self.session || !self.keys) return;
    for (std::size_t index = 0; index < batch->tickets.size(); ++index) {
        const PublishBatch::Ticket& ticket = batch->tickets[index];
        const PublishOutcome& outcome = batch->outcomes[index];
        if (outcome.status == PublishStatus::confirmed) {
            ++self.figures.published;
            self.last_confirmation = now;
            self.figures.last_confirmed_created_at = ticket.created_at;
            const Message& message = batch->messages[index];
            if (message.headers.get(receipts_header)) self.awaited.emplace(ticket.seq, message.id);
        } else {
            self.figures.last_error = outcome.error;
        }
        self.keys->take_outcome(ticket, batch->messages[index], outcome, now);
    }
}

// Settling

void RelayMachine::Impl::ask_settle(SteadyTime now, RelayActions& actions) {
    if (settle_channel.busy || !keys) return;
    std::vector<Sequence>& confirmed = keys->confirmed();
    if (confirmed.empty()) {
        settle_due.reset();
    } else if (!settle_due) {
        settle_due = now + options.settle_after;
    }
    if (!tracker->needs_bound() || stopping) {
        bound_due.reset();
    } else if (!bound_due) {
        bound_due = now + options.settle_after;
    }
    if (!settle_due && !bound_due) return;
    const bool due = confirmed.size() >= options.settle_rows || (stopping && batches_out == 0) ||
                     (settle_due && now >= *settle_due) || (bound_due && now >= *bound_due);
    if (!due || now < settle_channel.not_before) {
        for (const auto& next : {settle_due, bound_due}) {
            if (next) at(actions, std::max(*next, settle_channel.not_before));
        }
        return;
    }
    if (confirmed.size() <= options.settle_rows_max) {
        settling = std::exchange(confirmed, {});
    } else {
        const auto end = confirmed.begin() + static_cast<std::ptrdiff_t>(options.settle_rows_max);
        settling.assign(confirmed.begin(), end);
        confirmed.erase(confirmed.begin(), end);
    }
    settle_due.reset();
    bound_due.reset();
    settle_mark = tracker->settle_begins();
    begin(settle_channel);
    actions.settle = SettleRequest{.claim = *claim, .seqs = settling, .awaited = awaited_of(settling)};
}

std::vector<MessageId> RelayMachine::Impl::awaited_of(const std::vector<Sequence>& seqs) const {
    std::vector<MessageId> ids;
    if (awaited.empty() || mutant_active("settle_forgets_receipts")) return ids;
    for (const Sequence seq : seqs) {
        if (const auto found = awaited.find(seq); found != awaited.end()) ids.push_back(found->second);
    }
    return ids;
}

void RelayMachine::Impl::settled_awaited(const std::vector<Sequence>& seqs) {
    if (awaited.empty()) return;
    for (const Sequence seq : seqs) awaited.erase(seq);
}

void RelayMachine::settle_done(Result<Settled> reply, SteadyTime now) {
    Impl& self = *impl_;
    HUFU_ASSERT(self.settle_channel.busy);
    if (!self.end(self.settle_channel)) return;
    if (reply.has_error()) {
        // Also when the rows are gone by now: settling them again finds nothing to delete.
        self.failed(self.settle_channel, reply.error(), now);
        std::vector<Sequence>& confirmed = self.keys->confirmed();
        confirmed.insert(confirmed.begin(), self.settling.begin(), self.settling.end());
        self.settling.clear();
        return;
    }
    self.settle_channel.failures = 0;
    if (!self.holds(reply->ownership, now)) return;
    self.tracker->settle_ended(self.settle_mark, reply->transaction);
    self.figures.settled += self.settling.size();
    self.settled_awaited(self.settling);
    self.forget(self.settling);
    self.settling.clear();
}

// The cold tables

void RelayMachine::Impl::ask_lot(SteadyTime now, RelayActions& actions) {
    if (lot_channel.busy || !keys) return;
    if (now < lot_channel.not_before) return at(actions, lot_channel.not_before);
    std::optional<LotRequest> request = next_lot_request(now, actions);
    if (!request) return;
    lot_request = std::move(*request);
    begin(lot_channel);
    actions.lot = lot_request;
}

std::optional<LotRequest> RelayMachine::Impl::next_lot_request(SteadyTime now, RelayActions& actions) {
    if (!listed) return stopping ? std::nullopt : std::optional<LotRequest>{ListParked{}};
    if (!stopping) {
        if (std::vector<ParkRow> rows = keys->next_park(options.parked_rows); !rows.empty()) {
            return ParkRows{.claim = *claim, .rows = std::move(rows)};
        }
        if (auto hold = keys->next_hold()) {
            return HoldParked{.claim = *claim, .key = std::move(hold->first), .row = std::move(hold->second)};
        }
    }
    if (!keys->lot_confirmed().empty()) {
        lot_settling = std::exchange(keys->lot_confirmed(), {});
        SettleParked settle{.claim = *claim, .seqs = {}};
        settle.seqs.reserve(lot_settling.size());
        for (const auto& row : lot_settling) settle.seqs.push_back(row.first);
        settle.awaited = awaited_of(settle.seqs);
        return settle;
    }
    if (stopping) return std::nullopt;
    if (keys->any_closed()) {
        if (now >= next_list) return ListParked{};
        at(actions, next_list);
    }
    // Rows of a key in the lane may be older than those in the lot only if they were there before this session.
    if (caught_up && trusted(now) && keys->known().size() < options.window_rows && keys->bytes() < options.window_bytes) {
        if (auto drain = keys->next_drain()) return *drain;
    }
    if (now >= next_move) return MoveDue{.claim = *claim, .limit = moved_at_once};
    at(actions, next_move);
    return std::nullopt;
}

void RelayMachine::lot_done(Result<LotReply> reply, SteadyTime now) {
    Impl& self = *impl_;
    HUFU_ASSERT(self.lot_channel.busy);
    if (!self.end(self.lot_channel)) return;
    if (reply.has_error()) {
        self.failed(self.lot_channel, reply.error(), now);
        auto& confirmed = self.keys->lot_confirmed();
        confirmed.insert(confirmed.begin(), self.lot_settling.begin(), self.lot_settling.end());
        self.lot_settling.clear();
        return;
    }
    self.lot_channel.failures = 0;
    if (self.holds(reply->ownership, now)) self.take_lot_reply(std::move(*reply), now);
}

void RelayMachine::Impl::take_lot_reply(LotReply reply, SteadyTime now) {
    if (const auto* park = std::get_if<ParkRows>(&lot_request)) {
        figures.parked += park->rows.size();
        forget(keys->parked(park->rows.size()));
    } else if (std::holds_alternative<ListParked>(lot_request)) {
        keys->take_list(reply.keys);
        listed = true;
        next_list = now + options.parked_poll;
    } else if (const auto* drain = std::get_if<ReadReleased>(&lot_request)) {
        keys->drained(*drain, std::move(reply.rows));
    } else if (const auto* settle = std::get_if<SettleParked>(&lot_request)) {
        figures.settled += lot_settling.size();
        settled_awaited(settle->seqs);
        keys->lot_settled(lot_settling);
        lot_settling.clear();
    } else if (std::holds_alternative<HoldParked>(lot_request)) {
        keys->held();
    } else {
        figures.delayed_moved += reply.moved;
        if (reply.moved > 0) wake = true;
        const auto pause = std::min(options.delayed_poll, reply.next_due_in.value_or(options.delayed_poll));
        next_move = reply.moved >= moved_at_once ? now : now + std::max(pause, options.poll_min);
    }
}

}  // namespace hufu::outbox
