#include <hufu/txmsg/responder_machine.hpp>

#include <algorithm>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::txmsg {
namespace {

using Kind = ResponderAction::Kind;

}  // namespace

ResponderMachine::ResponderMachine(ResponderRules rules) : rules_{std::move(rules)} {
    HUFU_ASSERT(rules_.running_per_handler > 0);
}

void ResponderMachine::arrived(CheckNumber number, const HalfContext& context, SteadyTime now) {
    HUFU_ASSERT(pending_.empty() || pending_.rbegin()->first < number);
    if (!rules_.handlers.contains(context.handler)) {
        ++figures_.unknown_handler;
        return silence(number, context.transaction, "no handler \"" + context.handler + "\" is registered here");
    }
    const bool asks_checker = rules_.checkers.contains(context.handler);
    // Seeded bug: a process of another installation settles the transaction in its own, empty table.
    const bool ours = context.store == rules_.store || mutant_active("foreign_store_answers");
    if (!context.store.empty() && !ours) {
        ++figures_.foreign;
        return silence(number, context.transaction,
                       "the half names verdict store " + context.store + ", here is " +
                           (rules_.store.empty() ? std::string{"none"} : rules_.store));
    }
    auto& pending = pending_[number];
    pending = {context.handler, context.transaction, now + rules_.answer_within};
    unanswered_.insert(number);
    if (!asks_checker && context.store.empty()) {
        ++figures_.failed;
        answer(number, Verdict::unknown,
               "the half names no verdict store, and handler \"" + context.handler + "\" has no checker");
        return forget(number);
    }
    if (waiting_ >= rules_.waiting_max) {
        ++figures_.overloaded;
        answer(number, Verdict::unknown, std::to_string(waiting_) + " checks are waiting already");
        return forget(number);
    }
    lanes_[context.handler].waiting.push_back(number);
    ++waiting_;
    start_more(context.handler);
}

void ResponderMachine::start_more(const std::string& handler) {
    auto& lane = lanes_[handler];
    while (lane.running < rules_.running_per_handler && !lane.waiting.empty()) {
        const CheckNumber number = lane.waiting.front();
        lane.waiting.pop_front();
        --waiting_;
        auto& pending = pending_.at(number);
        pending.running = true;
        ++lane.running;
        ++running_;
        const Kind kind = rules_.checkers.contains(handler) ? Kind::ask_checker : Kind::ask_store;
        actions_.push_back({kind, number, pending.transaction, handler});
    }
}

ResponderMachine::Pending* ResponderMachine::end_of_run(CheckNumber number) {
    const auto found = pending_.find(number);
    if (found == pending_.end() || !found->second.running) {
        return nullptr;  // said twice, or after `stop`
    }
    auto& pending = found->second;
    pending.running = false;
    --lanes_[pending.handler].running;
    --running_;
    if (pending.answered) {
        ++figures_.late;
        const std::string handler = pending.handler;
        forget(number);
        start_more(handler);
        return nullptr;
    }
    return &pending;
}

void ResponderMachine::store_said(CheckNumber number, const Result<Seen>& seen, SteadyTime now) {
    tick(now);
    const Pending* pending = end_of_run(number);
    if (pending == nullptr) {
        return;
    }
    const std::string handler = pending->handler;
    if (!seen && seen.error().code() == ErrorCode::fenced) {
        ++figures_.foreign;
        unanswered_.erase(number);
        silence(number, pending->transaction, seen.error().text());
    } else if (!seen) {
        ++figures_.failed;
        answer(number, Verdict::unknown, "the verdict store failed: " + seen.error().text());
    } else if (*seen == Seen::committed) {
        answer(number, Verdict::commit, "the verdict row is there");
    } else if (*seen == Seen::rolled_back) {
        answer(number, Verdict::rollback, "the transaction did not commit, and cannot any more");
    } else if (*seen == Seen::ongoing) {
        answer(number, Verdict::unknown, "the local transaction is running");
    } else {
        answer(number, Verdict::unknown,
               "the transaction is older than the verdicts that are kept: whether it committed must be looked up by hand");
    }
    forget(number);
    start_more(handler);
}

void ResponderMachine::checker_said(CheckNumber number, Verdict verdict, std::string reason, SteadyTime now) {
    tick(now);
    const Pending* pending = end_of_run(number);
    if (pending == nullptr) {
        return;
    }
    const std::string handler = pending->handler;
    switch (verdict) {
        case Verdict::commit:
        case Verdict::rollback:
        case Verdict::unknown: answer(number, verdict, std::move(reason)); break;
        default:
            ++figures_.nonsense;
            answer(number, Verdict::unknown,
                   "the checker of handler \"" + handler + "\" answered " + std::to_string(static_cast<int>(verdict)) +
                       ", which is no verdict");
    }
    forget(number);
    start_more(handler);
}

void ResponderMachine::checker_failed(CheckNumber number, std::string what, SteadyTime now) {
    tick(now);
    const Pending* pending = end_of_run(number);
    if (pending == nullptr) {
        return;
    }
    const std::string handler = pending->handler;
    ++figures_.failed;
    answer(number, Verdict::unknown, "the checker of handler \"" + handler + "\" failed: " + what);
    forget(number);
    start_more(handler);
}

void ResponderMachine::tick(SteadyTime now) {
    while (!unanswered_.empty()) {
        const CheckNumber number = *unanswered_.begin();
        auto& pending = pending_.at(number);
        if (pending.deadline > now) {
            return;
        }
        ++figures_.timed_out;
        const bool running = pending.running;
        answer(number, Verdict::unknown,
               "handler \"" + pending.handler + "\" " + (running ? "did not answer" : "was still busy with earlier checks") +
                   " after " + std::to_string(rules_.answer_within.count()) + " ms");
        if (!running) {
            auto& waiting = lanes_[pending.handler].waiting;
            waiting.erase(std::find(waiting.begin(), waiting.end(), number));  // near the front: deadlines ascend
            --waiting_;
            forget(number);
        }
    }
}

void ResponderMachine::stop() {
    for (const CheckNumber number : unanswered_) {
        actions_.push_back({Kind::stay_silent, number, pending_.at(number).transaction, {}, Verdict::unknown, "stopping"});
    }
    unanswered_.clear();
    pending_.clear();
    lanes_.clear();
    waiting_ = 0;
    running_ = 0;
}

void ResponderMachine::answer(CheckNumber number, Verdict verdict, std::string reason) {
    auto& pending = pending_.at(number);
    HUFU_ASSERT(!pending.answered);
    pending.answered = true;
    unanswered_.erase(number);
    switch (verdict) {
        case Verdict::commit: ++figures_.committed; break;
        case Verdict::rollback: ++figures_.rolled_back; break;
        case Verdict::unknown: ++figures_.unknown; break;
    }
    actions_.push_back({Kind::answer, number, pending.transaction, pending.handler, verdict, std::move(reason)});
}

void ResponderMachine::silence(CheckNumber number, const TransactionId& transaction, std::string reason) {
    actions_.push_back({Kind::stay_silent, number, transaction, {}, Verdict::unknown, std::move(reason)});
}

void ResponderMachine::forget(CheckNumber number) { pending_.erase(number); }

std::vector<ResponderAction> ResponderMachine::take() { return std::exchange(actions_, {}); }

std::optional<SteadyTime> ResponderMachine::next_deadline() const {
    if (unanswered_.empty()) {
        return std::nullopt;
    }
    return pending_.at(*unanswered_.begin()).deadline;
}

}  // namespace hufu::txmsg
