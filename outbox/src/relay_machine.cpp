// The relay's claim and life; its work is in relay_work.cpp.
#include "relay_machine_impl.hpp"

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::outbox {
namespace {

constexpr std::uint32_t settle_failures_at_stop = 3;

}  // namespace

RelayMachine::RelayMachine(RelayOptions options, Random& random)
    : impl_{std::make_unique<Impl>(std::move(options), random)} {
    HUFU_ASSERT(!impl_->options.owner.empty() && validate(impl_->options).has_value());
}

RelayMachine::~RelayMachine() = default;

const RelayFigures& RelayMachine::figures() const noexcept { return impl_->figures; }
const std::optional<Error>& RelayMachine::error() const noexcept { return impl_->error; }
void RelayMachine::wake() { impl_->wake = true; }
void RelayMachine::stop() { impl_->stopping = true; }

RelayActions RelayMachine::step(SteadyTime now) {
    Impl& self = *impl_;
    RelayActions actions;
    if (self.keys) {
        self.keys->tick(now);
        if (const auto retry = self.keys->next_retry()) Impl::at(actions, *retry);
    }
    if (self.claim) {
        self.send(now, actions);
        self.ask_settle(now, actions);
        self.ask_lot(now, actions);
        self.ask_read(now, actions);
    }
    self.ask_lease(now, actions);
    self.finish_if_done(actions);
    self.update_figures();
    return actions;
}

void RelayMachine::Impl::ask_lease(SteadyTime now, RelayActions& actions) {
    if (lease_channel.busy || released) return;
    if (!claim) {
        if (stopping) return;
        if (now < lease_due) return at(actions, lease_due);
        lease_request = AcquireLane{.owner = options.owner, .lease = options.lease};
    } else if (stopping && drained()) {
        lease_request = ReleaseLane{.claim = *claim};
    } else {
        if (now < lease_due) return at(actions, lease_due);
        lease_request = RenewLease{.claim = *claim, .lease = options.lease};
    }
    lease_asked_at = now;
    begin(lease_channel);
    actions.lease = lease_request;
}

void RelayMachine::lease_done(Result<LeaseReply> reply, SteadyTime now) {
    Impl& self = *impl_;
    HUFU_ASSERT(self.lease_channel.busy);
    const bool current = self.end(self.lease_channel);
    if (std::holds_alternative<ReleaseLane>(self.lease_request)) {
        // Also when it failed: the lease then runs out by itself.
        self.claim.reset();
        self.released = true;
        return;
    }
    const bool acquiring = std::holds_alternative<AcquireLane>(self.lease_request);
    if (!acquiring && !current) return;  // the claim was lost by another call meanwhile
    if (reply.has_error()) {
        self.failed(self.lease_channel, reply.error(), now);
        self.lease_due = self.lease_channel.not_before;
        return;
    }
    self.lease_channel.failures = 0;
    if (acquiring) {
        if (!reply->claim) {
            self.lease_due = now + self.options.renew_every;
            return;
        }
        self.begin_session(*reply->claim, now);
    } else if (!self.holds(reply->ownership, now)) {
        return;
    }
    self.trusted_until = self.lease_asked_at + self.options.lease - self.options.lease_margin;
    self.lease_due = self.lease_asked_at + self.options.renew_every;
}

void RelayMachine::Impl::begin_session(Claim new_claim, SteadyTime now) {
    claim = std::move(new_claim);
    figures.epoch = claim->epoch;
    ++figures.takeovers;
    if (std::exchange(position_kept, false)) return;
    ++session;
    keys = std::make_unique<KeyOrder>(options, random);
    tracker.emplace(options.holes_max);
    last_confirmation = now;
    started = listed = caught_up = overflow = false;
    next_read = next_list = next_move = next_trickle = now;
    next_late_check = now + options.late_check;
    idle_delay = options.poll_min;
    forgotten.clear();
    awaited.clear();
    settling.clear();
    lot_settling.clear();
    settle_due.reset();
    bound_due.reset();
    read_channel.failures = settle_channel.failures = lot_channel.failures = 0;
    read_channel.not_before = settle_channel.not_before = lot_channel.not_before = now;
}

bool RelayMachine::Impl::holds(Ownership ownership, SteadyTime now) {
    if (ownership == Ownership::held) return true;
    if (ownership == Ownership::fenced && mutant_active("lease_never_fenced")) return true;
    lose(ownership, now);
    return false;
}

void RelayMachine::Impl::lose(Ownership how, SteadyTime now) {
    ++figures.lost;
    figures.epoch = 0;
    claim.reset();
    // A database that is not the one we claimed may be claimed again at once; another owner needs its time.
    lease_due = how == Ownership::moved_on ? now + options.poll_min : now + options.renew_every;
    if (how == Ownership::moved_on && mutant_active("position_trusted_after_failover")) {
        position_kept = true;
        keys->confirmed().insert(keys->confirmed().end(), settling.begin(), settling.end());
        settling.clear();
        return;
    }
    // What was in flight belongs to the next owner now. Its outcomes, and answers under way, find no session.
    ++session;
    keys.reset();
    tracker.reset();
}

void RelayMachine::Impl::fail(const Error& why) {
    if (!error) error = why;
    stopping = true;
}

void RelayMachine::Impl::failed(Channel& channel, const Error& why, SteadyTime now) {
    ++figures.store_errors;
    figures.last_error = why;
    ++channel.failures;
    channel.not_before =
        now + options.store_retry.wait_after(channel.failures, random).value_or(std::chrono::milliseconds{2'000});
    if (why.disposition() == Disposition::fatal || why.disposition() == Disposition::reject) fail(why);
}

bool RelayMachine::Impl::trusted(SteadyTime now) const {
    return now <= trusted_until || mutant_active("lease_never_fenced");
}

bool RelayMachine::Impl::drained() const {
    if (batches_out > 0 || read_channel.busy || settle_channel.busy || lot_channel.busy) return false;
    if (!keys || error) return true;
    const bool settled = keys->confirmed().empty() && keys->lot_confirmed().empty();
    return settled || std::max(settle_channel.failures, lot_channel.failures) >= settle_failures_at_stop;
}

void RelayMachine::Impl::finish_if_done(RelayActions& actions) {
    const bool idle = !lease_channel.busy && !read_channel.busy && !settle_channel.busy && !lot_channel.busy;
    actions.finished = stopping && !claim && idle && batches_out == 0;
}

void RelayMachine::Impl::update_figures() {
    figures.rows_held = keys ? keys->known().size() : 0;
    figures.bytes_held = keys ? keys->bytes() : 0;
    figures.keys_parked = keys ? keys->closed() : 0;
    figures.keys_blocked = keys ? keys->blocked() : 0;
    figures.holes = tracker ? tracker->hole_count() : 0;
}

}  // namespace hufu::outbox
