// Verdicts: what is asked, what was said before, and who is answered how. Carrying them out: transaction_decide.cpp.
#include <algorithm>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

#include "names.hpp"
#include "state.hpp"
#include "transactions.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t waiting_max = 65'536;

VerdictAnswer refused(ResponseCode code, std::string remark) {
    VerdictAnswer answer;
    answer.refusal = {code, std::move(remark)};
    return answer;
}

std::string name_of(const VerdictRequest& request) {
    if (request.home) return "half message " + std::to_string(*request.home);
    return "transaction \"" + request.transaction.substr(0, transaction_id_length_max) + "\"";
}

/// Why the half is not the one that is meant, empty when it is.
std::string foreign_fault(const VerdictRequest& request, bool same_group, const HalfHome& home) {
    if (!request.group.empty() && !same_group)
        return name_of(request) + " is of another producer group than \"" + request.group.substr(0, group_length_max) +
               "\": only its own group decides it";
    if (request.home && request.log_offset && *request.log_offset != home.log_offset)
        return name_of(request) + " does not stand at offset " + std::to_string(*request.log_offset) +
               " of the log: tranStateTableOffset and commitLogOffset must be those of one message";
    return {};
}

std::string name_of(const HalfEvent& event, const VerdictRequest& request) {
    if (!event.transaction.empty()) return "transaction \"" + event.transaction + "\"";
    if (transaction_hash(request.transaction) == event.transaction_hash)
        return "transaction \"" + request.transaction + "\"";
    return name_of(request);
}

std::string_view word_of(Verdict verdict) noexcept { return verdict == Verdict::commit ? "commit" : "rollback"; }

}  // namespace

std::uint64_t Transactions::must_wait(const VerdictRequest& request) const {
    if (fresh_.empty() && deciding_.empty()) return 0;
    std::uint64_t ticket = 0;
    std::uint32_t hash = 0;
    if (request.home) {
        if (const auto deciding = deciding_.find(*request.home); deciding != deciding_.end()) return deciding->second;
        const auto half = book_.find(*request.home);
        if (!half) return 0;
        hash = half->hash;
    } else {
        const std::uint64_t whole = transaction_hash(request.transaction);
        hash = short_hash(whole);
        const auto deciding = deciding_transactions_.find(whole);
        if (deciding != deciding_transactions_.end()) ticket = deciding->second;
    }
    // All halves of the transaction must be readable, or some would be left behind.
    for (const std::uint64_t home : book_.with_hash(hash, book_.size())) {
        if (const auto fresh = fresh_.find(home); fresh != fresh_.end()) ticket = std::max(ticket, fresh->second.ticket);
        if (const auto moving = deciding_.find(home); moving != deciding_.end()) ticket = std::max(ticket, moving->second);
    }
    return ticket;
}

void Transactions::wait(DispatchState& state, std::uint64_t ticket, VerdictRequest request, Then then) {
    if (waiting_.size() >= waiting_max)
        return then(state, refused(ResponseCode::system_busy, "[OVERLOAD] " + std::to_string(waiting_.size()) +
                                                                  " verdicts wait for the disk; try again in a moment"));
    // In the order of tickets; nearly always this one is the last.
    auto at = waiting_.end();
    while (at != waiting_.begin() && std::prev(at)->ticket > ticket) --at;
    waiting_.insert(at, {ticket, std::move(request), std::move(then)});
}

std::vector<LoadedHalf> Transactions::find_halves(DispatchState& state, const VerdictRequest& request, Refusal& refusal) {
    std::vector<LoadedHalf> halves;
    if (!request.home) return load_transaction(state, request.group, request.transaction);
    auto half = book_.find(*request.home);
    if (!half && mutant_active("late_commit_accepted") && request.verdict == Verdict::commit) {
        half = half_at_home(*request.home);
        if (half) book_.add(*half);
    }
    if (!half) return halves;
    auto loaded = load_half(*half);
    if (!loaded) {
        refusal = {ResponseCode::system_error,
                   name_of(request) + " is damaged and cannot be read; an administrator can give it up"};
        return halves;
    }
    if (std::string fault = foreign_fault(request, request.group == loaded->group, loaded->home); !fault.empty()) {
        refusal = {ResponseCode::no_permission, std::move(fault)};
        return halves;
    }
    if (book_.with_hash(half->hash, 2).size() > 1) return load_transaction(state, loaded->group, loaded->transaction);
    halves.push_back(std::move(*loaded));
    return halves;
}

void Transactions::decide(DispatchState& state, VerdictRequest request, Then then) {
    if (const std::uint64_t ticket = must_wait(request); ticket > settled_ticket_)
        return wait(state, ticket, std::move(request), std::move(then));
    Refusal refusal;
    std::vector<LoadedHalf> halves = find_halves(state, request, refusal);
    if (refusal.refused()) {
        VerdictAnswer answer;
        answer.refusal = std::move(refusal);
        return then(state, answer);
    }
    if (request.from_check) note_check_answer(request);
    if (halves.empty()) return answer_of_past(state, request, then);
    decide_loaded(state, halves, request, std::move(then));
}

void Transactions::note_check_answer(const VerdictRequest& request) {
    auto half = request.home ? book_.find(*request.home) : std::nullopt;
    if (!half) return;
    if (half->asked) checks_answered_count_.add();
    forget_check(*half);
    half->asked = false;
    if (half->checks < 0xffff) ++half->checks;
    book_.update(*half);
}

void Transactions::decide_loaded(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request,
                                 Then then) {
    VerdictAnswer answer;
    for (LoadedHalf& half : halves) half.half = *book_.find(half.half.home);
    const HalfState now = halves.front().half.state;
    if (request.verdict == Verdict::unknown) {
        constexpr VerdictAnswer::State states[] = {VerdictAnswer::State::pending, VerdictAnswer::State::parked,
                                                   VerdictAnswer::State::parked, VerdictAnswer::State::rolled_back};
        answer.state = states[static_cast<std::size_t>(now)];
        return then(state, answer);
    }
    const bool by_administrator = request.group.empty();
    if (now == HalfState::conflict) {
        if (request.verdict == Verdict::rollback && by_administrator)
            return dismiss(state, halves, request, std::move(then));
        if (!by_administrator) return answer_of_past(state, request, then);
        // An administrator who has looked may do what nobody else may.
    }
    if (now == HalfState::undelivered && request.verdict == Verdict::rollback) {
        refused_count_.add();
        return then(state, refused(ResponseCode::illegal_operation,
                                   name_of(request) +
                                       " is committed and waits for its topic; it cannot be rolled back any "
                                       "more. Create topic \"" +
                                       std::string{halves.front().record.topic} + "\" and resume it"));
    }
    apply(state, halves, request, std::move(then));
}

// Verdicts of the past.

void Transactions::answer_of_past(DispatchState& state, const VerdictRequest& request, const Then& then) {
    const auto events = find_events(state, decisions_, request.home ? event_key(*request.home) : request.transaction);
    if (!events)
        return then(state, refused(ResponseCode::system_busy,
                                   "[OVERLOAD] part of the key index is being rebuilt, try again in a moment"));
    const auto is_meant = [&](const HalfEvent& event) {
        if (!is_verdict(event.kind)) return false;
        if (request.home) return event.home.offset == *request.home;
        return event.transaction_hash == transaction_hash(request.transaction) &&
               (request.group.empty() || event.group_hash == transaction_hash(request.group));
    };
    const auto said = std::find_if(events->begin(), events->end(), is_meant);
    if (said == events->end()) {
        if (request.home && *request.home < log_.min_offset(halves_))
            return then(state, refused(ResponseCode::query_not_found,
                                       name_of(request) + " has expired: it was decided longer ago than this broker keeps "
                                                          "messages"));
        return then(state, refused(ResponseCode::query_not_found,
                                   name_of(request) + " is unknown: no such half message is or was stored here" +
                                       (request.home ? "" : ", or its verdict has expired")));
    }
    if (std::string fault = foreign_fault(request, transaction_hash(request.group) == said->group_hash, said->home);
        !fault.empty())
        return then(state, refused(ResponseCode::no_permission, std::move(fault)));
    VerdictAnswer answer;
    answer.decided_before = true;
    answer.state = said->kind == EventKind::rollback ? VerdictAnswer::State::rolled_back : VerdictAnswer::State::committed;
    const Verdict first = said->kind == EventKind::rollback ? Verdict::rollback : Verdict::commit;
    if (request.verdict == Verdict::unknown || request.verdict == first) return then(state, answer);
    refused_count_.add();
    answer.refusal = {ResponseCode::illegal_operation,
                      name_of(*said, request) + " was " + std::string{to_string(said->kind)} + " by " + said->by +
                          "; the first verdict counts, and this " + std::string{word_of(request.verdict)} + " does not"};
    const bool known = std::any_of(events->begin(), events->end(), [&](const HalfEvent& event) {
        return event.kind == EventKind::conflict && event.transaction_hash == said->transaction_hash;
    });
    if (request.verdict == Verdict::commit && !known && !request.group.empty())
        return note_conflict(state, request, *said, answer.refusal, then);
    then(state, answer);
}

void Transactions::note_conflict(DispatchState& state, const VerdictRequest& request, const HalfEvent& event,
                                 Refusal refusal, Then then) {
    HalfEvent conflict = event;
    conflict.kind = EventKind::conflict;
    conflict.by = who_says(request);
    conflict.reason = request.reason;
    auto half = half_at_home(event.home.offset);
    if (const auto loaded = half ? load_half(*half) : std::nullopt) {
        conflict.group = loaded->group;
        conflict.transaction = loaded->transaction;
    }
    const auto appended = append_event(state, decisions_, conflict);
    VerdictAnswer answer;
    answer.state = VerdictAnswer::State::rolled_back;
    answer.decided_before = true;
    answer.refusal = appended ? std::move(refusal) : refusal_of(appended.error());
    if (!appended) return then(state, answer);
    next_event_ = appended->queue_offset + 1;
    ++events_since_book_;
    conflicts_count_.add();
    state.alarm(name_of(conflict, request) + " of producer group \"" + request.group + "\" was rolled back by " + event.by +
                ", and then " + who_says(request) +
                " committed it: the commit was refused. Compare the business data, then settle it: hufu tx show, commit or "
                "rollback");
    Flight flight;
    flight.ticket = appended->ticket;
    if (half && !book_.find(half->home)) {
        half->state = HalfState::conflict;
        flight.before.emplace_back(half->home, std::nullopt);
        book_.add(*half);
    }
    deciding_.emplace(event.home.offset, appended->ticket);
    flight.kind = EventKind::conflict;
    flight.decided.push_back(event.home.offset);
    flight.then = [answer, then = std::move(then)](DispatchState& later, const Refusal& lost) {
        VerdictAnswer told = answer;
        if (lost.refused()) told.refusal = lost;
        then(later, told);
    };
    fly(std::move(flight));
}

void Transactions::dismiss(DispatchState& state, std::vector<LoadedHalf>& halves, const VerdictRequest& request, Then then) {
    VerdictAnswer answer;
    answer.state = VerdictAnswer::State::rolled_back;
    answer.decided_before = true;
    const auto done = change(state, halves, EventKind::dismissed, HalfState::conflict, who_says(request), request.reason,
                             [answer, then](DispatchState& later, const Refusal& lost) {
                                 VerdictAnswer told = answer;
                                 told.refusal = lost;
                                 then(later, told);
                             });
    if (done) return;
    answer.refusal = refusal_of(done.error());
    then(state, answer);
}

std::optional<std::string> Transactions::topic_of(DispatchState& state, const VerdictRequest& request) {
    if (!request.home) {
        const auto halves = load_transaction(state, request.group, request.transaction);
        return halves.empty() ? std::nullopt : std::optional{std::string{halves.front().record.topic}};
    }
    if (const auto fresh = fresh_.find(*request.home); fresh != fresh_.end()) return fresh->second.topic;
    const auto half = book_.find(*request.home);
    const auto loaded = half ? load_half(*half) : std::nullopt;
    return loaded ? std::optional{std::string{loaded->record.topic}} : std::nullopt;
}

}  // namespace hufu::broker
