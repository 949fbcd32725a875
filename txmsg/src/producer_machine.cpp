#include <hufu/txmsg/producer_machine.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/assert.hpp>

namespace hufu::txmsg {

using State = TransactionResult::State;

ProducerMachine::ProducerMachine(HalfContext context, const ProducerRules& rules)
    : context_{std::move(context)}, rules_{rules} {
    result_.transaction = context_.transaction;
}

void ProducerMachine::prepared(std::span<const HalfOutcome> outcomes, SteadyTime now) {
    HUFU_ASSERT(next_ == ProducerAction::prepare && !outcomes.empty());
    const HalfOutcome* worst = nullptr;
    for (const auto& outcome : outcomes) {
        result_.messages.push_back(outcome.half.id);
        const bool confirmed = outcome.status == PublishStatus::confirmed;
        const bool known_place = !outcome.half.token.empty();
        if (confirmed || known_place) halves_.push_back(outcome.half);  // END can name it, whatever is said
        const bool enough = confirmed || (known_place && rules_.half_safety == HalfSafety::stored);
        if (!enough && worst == nullptr) worst = &outcome;
    }
    if (worst == nullptr) {
        next_ = ProducerAction::begin;
        return;
    }
    result_.state = State::rolled_back;
    result_.error = worst->error;
    if (halves_.empty()) {  // a half in doubt, if it is there, is settled by check-back: the transaction never began
        next_ = ProducerAction::finished;
        return;
    }
    say(Verdict::rollback, "a half was not stored: " + worst->error.text(), now);
}

void ProducerMachine::done(SteadyTime now) {
    switch (next_) {
        case ProducerAction::begin: next_ = ProducerAction::insert_verdict; return;
        case ProducerAction::insert_verdict: next_ = ProducerAction::run_local; return;
        case ProducerAction::commit:
            result_.state = State::committed;
            say(Verdict::commit, "the local transaction is committed", now);
            return;
        case ProducerAction::roll_back: say(Verdict::rollback, reason_, now); return;
        default: HUFU_ASSERT(!"done() answers begin, insert_verdict, commit and roll_back only");
    }
}

void ProducerMachine::failed(Error error, SteadyTime now) {
    switch (next_) {
        case ProducerAction::begin:
            result_.state = State::rolled_back;
            say(Verdict::rollback, "the local transaction did not begin: " + error.text(), now);
            result_.error = std::move(error);
            return;
        case ProducerAction::insert_verdict: {
            std::string reason = "the verdict row was refused: " + error.text();
            return roll_back(std::move(error), std::move(reason));
        }
        case ProducerAction::commit: break;
        default: HUFU_ASSERT(!"failed() answers begin, insert_verdict and commit only");
    }
    if (error.disposition() != Disposition::in_doubt) {
        std::string reason = "the local transaction failed to commit: " + error.text();
        return roll_back(std::move(error), std::move(reason));
    }
    result_.state = State::in_doubt;
    result_.error = std::move(error);
    if (context_.store.empty()) {  // only the user's checker could tell
        next_ = ProducerAction::finished;
        return;
    }
    deadline_ = now + rules_.self_check_for;
    wait_ = rules_.wait_first;
    next_ = ProducerAction::check;
}

void ProducerMachine::returned(Decision decision) {
    HUFU_ASSERT(next_ == ProducerAction::run_local);
    if (decision == Decision::commit) {
        next_ = ProducerAction::commit;
    } else {
        roll_back({}, "the local function decided to roll back");
    }
}

void ProducerMachine::threw(Error error) {
    HUFU_ASSERT(next_ == ProducerAction::run_local);
    std::string reason = "the local function failed: " + error.text();
    roll_back(std::move(error), std::move(reason));
}

void ProducerMachine::roll_back(Error error, std::string reason) {
    result_.state = State::rolled_back;
    result_.error = std::move(error);
    reason_ = std::move(reason);
    next_ = ProducerAction::roll_back;
}

void ProducerMachine::checked(const Result<Seen>& seen, SteadyTime now) {
    HUFU_ASSERT(next_ == ProducerAction::check);
    if (seen && *seen == Seen::committed) {
        result_.state = State::committed;
        result_.error = {};
        return say(Verdict::commit, "the answer to COMMIT was lost; the verdict row is there", now);
    }
    if (seen && *seen == Seen::rolled_back) {
        result_.state = State::rolled_back;
        return say(Verdict::rollback, "the answer to COMMIT was lost; the verdict row is not there", now);
    }
    const bool hopeless = seen ? *seen == Seen::beyond_retention : seen.error().disposition() == Disposition::fatal;
    if (hopeless) {
        next_ = ProducerAction::finished;
        return;
    }
    wait_or(ProducerAction::check, ProducerAction::finished, now);
}

void ProducerMachine::say(Verdict verdict, std::string reason, SteadyTime now) {
    verdict_ = verdict;
    reason_ = std::move(reason);
    deadline_ = now + rules_.end_for;
    wait_ = rules_.wait_first;
    next_ = ProducerAction::end;
}

void ProducerMachine::ended(EndOutcome outcome, SteadyTime now) {
    HUFU_ASSERT(next_ == ProducerAction::end);
    const bool silent = outcome.state == EndOutcome::State::unknown;
    const bool repeat = silent && outcome.error.disposition() == Disposition::retry;
    result_.end = std::move(outcome);
    if (repeat) {
        wait_or(ProducerAction::end, ProducerAction::finished, now);
    } else {
        next_ = ProducerAction::finished;
    }
}

void ProducerMachine::wait_or(ProducerAction again, ProducerAction otherwise, SteadyTime now) {
    if (hurry_ || now + wait_ > deadline_) {
        next_ = otherwise;
        return;
    }
    after_wait_ = again;
    wait_until_ = now + wait_;
    wait_ = std::min(2 * wait_, rules_.wait_most);
    next_ = ProducerAction::wait;
}

void ProducerMachine::waited() {
    HUFU_ASSERT(next_ == ProducerAction::wait);
    next_ = hurry_ ? ProducerAction::finished : after_wait_;
}

}  // namespace hufu::txmsg
