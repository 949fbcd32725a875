#include <hufu/idempotency/lease_machine.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/idempotency/grade.hpp>

namespace hufu::idempotency {
namespace {

using State = LeaseOutcome::State;
using std::chrono::milliseconds;

/// A second try finds out what became of the first, whose answer was lost; more are the retry schedule's business.
constexpr std::uint32_t acquire_tries = 2;

/// Doubling waits between tries to record a finished effect.
constexpr milliseconds first_pause{5};
constexpr milliseconds longest_pause{200};

milliseconds pause_after(std::uint32_t failed_tries) {
    return std::min(longest_pause, first_pause * (1 << std::min(failed_tries - 1, 10U)));
}

/// A stranger's lease may end at any moment; asking more often than its holder renews tells nothing new.
milliseconds retry_after(milliseconds lease) { return std::min<milliseconds>(lease / 3, std::chrono::seconds{5}); }

std::string name_of(const LeaseKey& key) { return "key \"" + key.id + "\" of group \"" + key.group + "\""; }

}  // namespace

HandlerResult LeaseOutcome::handled() const {
    switch (state) {
        case State::done: return {Handled::done, reason};
        case State::already_done: return {Handled::already_done, reason};
        case State::conflict:
        case State::reject: return {Handled::reject, reason};
        case State::in_progress:
        case State::retry: break;
    }
    return {Handled::retry, reason};
}

LeaseMachine::LeaseMachine(LeaseRequest request, LeaseOptions options, milliseconds keep_for)
    : request_{std::move(request)}, options_{options}, keep_for_{keep_for} {
    request_.lease = options_.lease;
    if (const auto fine = check(request_.key, request_.fingerprint); !fine) {
        end_with({.state = State::reject, .reason = fine.error().text()});
    }
}

LeaseAction LeaseMachine::next() const noexcept { return next_; }

LeaseResult LeaseMachine::to_keep() const noexcept {
    if (outcome_.result_dropped) return {.dropped = true, .keep_for = keep_for_};
    return {.bytes = outcome_.result, .keep_for = keep_for_};
}

void LeaseMachine::asked(SteadyTime now) {
    if (!first_asked_) first_asked_ = now;
    not_before_.reset();
}

void LeaseMachine::seen(LeaseSeen seen) {
    HUFU_ASSERT(next_ == LeaseAction::acquire && first_asked_);
    if (seen.state == LeaseSeen::State::ours) {
        trust_from(*first_asked_);
        first_asked_.reset();
        tries_ = 0;
        // Seeded bug: recorded as done before it is, so a crash in between loses the effect.
        next_ = mutant_active("mark_before_effect") ? LeaseAction::complete : LeaseAction::run_effect;
        return;
    }
    if (!seen.fingerprint.empty() && !request_.fingerprint.empty() && seen.fingerprint != request_.fingerprint) {
        return end_with({.state = State::conflict,
                         .reason = name_of(request_.key) + " was used with another payload: a new request needs a new key"});
    }
    // Seeded bug: a duplicate is acknowledged while the first one may still fail.
    if (seen.state == LeaseSeen::State::done || mutant_active("duplicate_not_waiting")) {
        return end_with(
            {.state = State::already_done, .result = std::move(seen.result), .result_dropped = seen.result_dropped});
    }
    end_with({.state = State::in_progress,
              .reason = name_of(request_.key) + " is being handled by another process or thread",
              .retry_after = retry_after(options_.lease)});
}

void LeaseMachine::failed(const Error& error, SteadyTime now) {
    HUFU_ASSERT(first_asked_ && (next_ == LeaseAction::acquire || next_ == LeaseAction::complete));
    ++tries_;
    const bool hopeless = error.disposition() == Disposition::reject || error.disposition() == Disposition::fatal;
    if (next_ == LeaseAction::acquire) {
        if (error.disposition() == Disposition::in_doubt && tries_ < acquire_tries) return;
        const bool never = error.disposition() == Disposition::reject;
        return end_with({.state = never ? State::reject : State::retry, .reason = error.text()});
    }
    // The effect has taken place: what is left is to tell, for as long as that may still be true to the lease.
    if (hopeless || now >= *first_asked_ + options_.complete_patience) {
        outcome_.recorded = false;
        outcome_.reason = name_of(request_.key) +
                          " is done, but that could not be recorded, so a duplicate that comes after " +
                          duration_text(options_.lease) + " is not seen as one: " + error.text();
        next_ = LeaseAction::finished;
        return;
    }
    not_before_ = now + pause_after(tries_);
}

void LeaseMachine::returned(EffectResult result) {
    HUFU_ASSERT(next_ == LeaseAction::run_effect);
    effect_ran_ = true;
    outcome_.reason = std::move(result.reason);
    if (result.handled == Handled::retry || result.handled == Handled::reject) {
        outcome_.state = result.handled == Handled::retry ? State::retry : State::reject;
        next_ = taken_ ? LeaseAction::finished : LeaseAction::release;
        return;
    }
    outcome_.state = State::done;
    outcome_.result = std::move(result.result);
    if (outcome_.result.size() > options_.result_bytes_max) {
        outcome_.result_dropped = true;
        outcome_.reason = name_of(request_.key) + ": its result of " + std::to_string(outcome_.result.size()) +
                          " bytes is not kept, the limit is " + std::to_string(options_.result_bytes_max) +
                          "; duplicates learn only that it is done";
    }
    next_ = mutant_active("mark_before_effect") ? LeaseAction::finished : LeaseAction::complete;
}

void LeaseMachine::threw(std::string what) { returned({Handled::retry, {}, std::move(what)}); }

void LeaseMachine::completed(LeaseKept kept) {
    HUFU_ASSERT(next_ == LeaseAction::complete);
    first_asked_.reset();
    tries_ = 0;
    if (!effect_ran_) {  // only a seeded bug records this early
        next_ = LeaseAction::run_effect;
        return;
    }
    outcome_.recorded = kept != LeaseKept::lost;
    outcome_.lease_lost = outcome_.lease_lost || kept != LeaseKept::kept;
    if (kept == LeaseKept::lost) {
        outcome_.reason = name_of(request_.key) +
                          " is done, but its lease was lost to another: the effect may exist twice; "
                          "keep handlers shorter than the lease (" +
                          duration_text(options_.lease) + ") or their processes running";
    }
    next_ = LeaseAction::finished;
}

void LeaseMachine::released() {
    HUFU_ASSERT(next_ == LeaseAction::release);
    next_ = LeaseAction::finished;
}

bool LeaseMachine::renewal_due(SteadyTime now) const noexcept {
    return next_ == LeaseAction::run_effect && !taken_ && now >= renew_at_;
}

void LeaseMachine::renewed(LeaseKept kept, SteadyTime asked_at) {
    if (next_ != LeaseAction::run_effect) return;  // it has ended meanwhile
    if (kept != LeaseKept::kept) outcome_.lease_lost = true;
    if (kept == LeaseKept::lost) {
        taken_ = true;
        return;
    }
    trust_from(asked_at);
}

void LeaseMachine::renewal_failed(SteadyTime now) { renew_at_ = now + options_.lease / 10; }

bool LeaseMachine::held(SteadyTime now) const noexcept { return !taken_ && now < trust_until_; }

void LeaseMachine::trust_from(SteadyTime asked_at) {
    trust_until_ = asked_at + options_.lease;
    renew_at_ = asked_at + options_.lease / 3;
}

void LeaseMachine::end_with(LeaseOutcome outcome) {
    outcome_ = std::move(outcome);
    next_ = LeaseAction::finished;
}

}  // namespace hufu::idempotency
