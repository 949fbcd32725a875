#include <hufu/idempotency/once.hpp>

#include <string_view>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::idempotency {
namespace {

constexpr OnceAction guard_first[] = {OnceAction::begin,       OnceAction::insert_guard, OnceAction::run_effect,
                                      OnceAction::keep_result, OnceAction::commit,       OnceAction::finished};

// Seeded bug: the effect commits before its guard, so a crash between the two repeats it.
constexpr OnceAction guard_last[] = {OnceAction::begin,       OnceAction::find_guard, OnceAction::run_effect,
                                     OnceAction::commit,      OnceAction::begin,      OnceAction::insert_guard,
                                     OnceAction::keep_result, OnceAction::commit,     OnceAction::finished};

// Seeded bug: the check sees a state that need not hold any more when the effect runs.
constexpr OnceAction check_first[] = {OnceAction::begin,       OnceAction::find_guard, OnceAction::roll_back,
                                      OnceAction::begin,       OnceAction::run_effect, OnceAction::insert_guard,
                                      OnceAction::keep_result, OnceAction::commit,     OnceAction::finished};

// Seeded bug: no guard at all, so every delivery is an effect.
constexpr OnceAction no_guard[] = {OnceAction::begin, OnceAction::run_effect, OnceAction::commit, OnceAction::finished};

std::span<const OnceAction> plan() {
    if (mutant_active("guard_off")) {
        return no_guard;
    }
    if (mutant_active("guard_after_effect")) {
        return guard_last;
    }
    if (mutant_active("check_then_set")) {
        return check_first;
    }
    return guard_first;
}

std::string microseconds_text(SystemTime time) { return std::to_string(time.time_since_epoch().count()); }

}  // namespace

OnceMachine::OnceMachine(GuardKey key, SystemTime first_stored_at)
    : key_{std::move(key)}, first_stored_at_{first_stored_at}, plan_{plan()} {}

OnceAction OnceMachine::next() const noexcept {
    if (ending_) {
        return open_ ? OnceAction::roll_back : OnceAction::finished;
    }
    return plan_[step_];
}

void OnceMachine::done() {
    switch (next()) {
        case OnceAction::begin: open_ = true; break;
        case OnceAction::commit:
        case OnceAction::roll_back: open_ = false; break;
        case OnceAction::keep_result: break;
        default: HUFU_ASSERT(!"done() answers begin, keep_result, commit and roll_back only");
    }
    if (!ending_) {
        advance();
    }
}

void OnceMachine::seen(const GuardSeen& seen) {
    HUFU_ASSERT(next() == OnceAction::insert_guard || next() == OnceAction::find_guard);
    if (effect_ran_) {  // only a seeded bug asks this late, and looks away
        return advance();
    }
    if (seen.before) {
        return end_with({Handled::already_done, seen.result});
    }
    // Seeded bug: what may have been handled before its row was purged runs again.
    if (first_stored_at_ < seen.horizon && !mutant_active("guard_past_its_horizon")) {
        return end_with({Handled::reject,
                         {},
                         "message " + key_.id.to_string() + " was first stored at " + microseconds_text(first_stored_at_) +
                             " us, before the horizon of group \"" + key_.group + "\" (" + microseconds_text(seen.horizon) +
                             " us): its guard row may have been purged, so it is not run; check by hand whether its "
                             "effect exists, and keep guards longer than messages can live"});
    }
    advance();
}

void OnceMachine::returned(EffectResult result) {
    HUFU_ASSERT(next() == OnceAction::run_effect);
    effect_ran_ = true;
    if (result.handled == Handled::retry || result.handled == Handled::reject) {
        return end_with(std::move(result));
    }
    outcome_ = std::move(result);
    advance();
}

void OnceMachine::failed(const Error& error) {
    const bool never = error.disposition() == Disposition::reject;
    OnceOutcome outcome{never ? Handled::reject : Handled::retry, {}, error.text()};
    outcome.error = error;
    end_with(std::move(outcome));
}

void OnceMachine::advance() {
    ++step_;
    // Nothing to keep: the row's result is empty already.
    if (plan_[step_] == OnceAction::keep_result && outcome_.result.empty()) {
        ++step_;
    }
}

void OnceMachine::end_with(OnceOutcome outcome) {
    outcome_ = std::move(outcome);
    ending_ = true;
}

namespace {

/// Rolls back unless told that the transaction has ended: also when the effect throws.
class Open {
public:
    explicit Open(EffectTransaction& transaction) : transaction_{transaction} {}
    ~Open() {
        if (open_) {
            transaction_.roll_back();
        }
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    void set(bool open) noexcept { open_ = open; }

private:
    EffectTransaction& transaction_;
    bool open_ = false;
};

}  // namespace

OnceOutcome run_once(OnceMachine machine, EffectTransaction& transaction, GuardRows& rows,
                     const std::function<EffectResult()>& effect) {
    Open open{transaction};
    const auto answer = [&machine](const Result<void>& result) { result ? machine.done() : machine.failed(result.error()); };
    const auto answer_seen = [&machine](const Result<GuardSeen>& result) {
        result ? machine.seen(*result) : machine.failed(result.error());
    };
    for (;;) {
        switch (machine.next()) {
            case OnceAction::begin: {
                const auto begun = transaction.begin();
                open.set(begun.has_value());
                answer(begun);
                break;
            }
            case OnceAction::insert_guard: answer_seen(rows.insert(machine.key())); break;
            case OnceAction::find_guard: answer_seen(rows.find(machine.key())); break;
            case OnceAction::run_effect: machine.returned(effect()); break;
            case OnceAction::keep_result: answer(rows.keep_result(machine.key(), machine.outcome().result)); break;
            case OnceAction::commit: {
                const auto committed = transaction.commit();
                open.set(!committed.has_value());
                answer(committed);
                break;
            }
            case OnceAction::roll_back:
                transaction.roll_back();
                open.set(false);
                machine.done();
                break;
            case OnceAction::finished: return machine.outcome();
        }
    }
}

}  // namespace hufu::idempotency
