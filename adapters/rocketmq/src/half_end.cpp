// END: the verdict on its way to the broker, once or until it is answered.
#include "half_machine.hpp"

#include <algorithm>

#include <hufu/remoting/transaction_bodies.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "errors.hpp"

namespace hufu::rocketmq {
namespace {

using std::chrono::milliseconds;
using State = txmsg::EndOutcome::State;
using txmsg::Verdict;

constexpr milliseconds wait_first{20};
constexpr milliseconds wait_most{1'000};

std::int32_t flag_of(Verdict verdict) noexcept {
    return verdict == Verdict::commit     ? remoting::sys_flag::transaction_commit
           : verdict == Verdict::rollback ? remoting::sys_flag::transaction_rollback
                                          : remoting::sys_flag::transaction_none;
}

/// Of what several brokers say, the word to hand on: the worst.
int weight(State state) noexcept {
    switch (state) {
        case State::refused: return 5;
        case State::unknown: return 4;
        case State::parked: return 3;
        case State::pending: return 2;
        case State::committed:
        case State::rolled_back: return 1;
    }
    return 0;
}

remoting::EndTransactionRequest request_of(const HalfPlace& place, std::string_view group, std::string_view topic,
                                           Verdict verdict, std::string_view reason) {
    return {.producer_group = group,
            .topic = topic,
            .half_queue_offset = place.queue_offset,
            .half_log_offset = place.log_offset,
            .verdict = flag_of(verdict),
            .message_id = place.unique_key,
            .transaction_id = place.transaction_id,
            .broker_name = place.broker_name,
            .reason = reason.substr(0, remoting::transaction_reason_bytes_max)};
}

}  // namespace

void HalfMachine::end(SteadyTime now, std::shared_ptr<EndJob> job) {
    job->deadline = now + options_.end_timeout;
    *job->outcome = {};
    std::vector<EndingPtr> endings;
    std::size_t strange = 0;
    for (const txmsg::Half& half : job->halves) {
        auto place = HalfPlace::of_token(half.token);
        if (!place) {
            ++strange;
            continue;
        }
        // One END decides all halves of the transaction at a broker that decides by transaction.
        const bool said = place->answers_end && std::any_of(endings.begin(), endings.end(), [&](const EndingPtr& other) {
                              return other->place.answers_end && other->place.address == place->address &&
                                     other->place.transaction_id == place->transaction_id;
                          });
        if (!said) {
            endings.push_back(std::make_shared<Ending>(
                Ending{.job = job, .place = std::move(*place), .topic = half.topic, .wait = wait_first}));
        }
    }
    if (endings.empty() || closed_) {
        job->outcome->error = {closed_ ? ErrorCode::cancelled : ErrorCode::invalid_argument, Disposition::in_doubt,
                               closed_ ? std::string{"END was not said: the publisher is closing; check-back will settle it"}
                                       : "END was not said: none of " + std::to_string(job->halves.size()) +
                                             " halves has a place at this broker; check-back will settle it"};
        finished_.push_back(std::move(job->done));
        return;
    }
    if (strange > 0) {
        log_.warning("halves without a place are left to check-back", {{"count", std::to_string(strange)}});
    }
    job->open = endings.size();
    endings_.insert(endings.begin(), endings.end());
    for (const EndingPtr& ending : endings) say(now, ending);
}

void HalfMachine::say(SteadyTime now, const EndingPtr& ending) {
    const EndJob& job = *ending->job;
    const std::string group = wire_group(job.context.group, job.context.handler);
    const auto request = request_of(ending->place, group, ending->topic, job.verdict, job.reason);
    if (!ending->place.answers_end && job.verdict == Verdict::unknown) {
        cluster_.post(ending->place.address, remoting::RequestCode::end_transaction, request);
        conclude(ending, {.error = {ErrorCode::unsupported, Disposition::in_doubt,
                                    "this broker answers no END without a verdict; check-back will settle it"}});
        return;
    }
    const auto left = std::chrono::duration_cast<milliseconds>(job.deadline - now);
    cluster_.call(now, ending->place.address, remoting::RequestCode::end_transaction, request, {},
                  std::clamp(left, milliseconds{1}, options_.end_answer_timeout),
                  [this, ending](SteadyTime at, const Answer& answer) { answered(at, ending, answer); });
}

void HalfMachine::answered(SteadyTime now, const EndingPtr& ending, const Answer& answer) {
    if (!endings_.contains(ending)) {
        return;
    }
    if (answer.command == nullptr) {
        // A real RocketMQ applies every END it gets: only one that certainly never left may be said again.
        if (ending->place.answers_end || answer.error.disposition() == Disposition::retry) {
            repeat_or(now, ending, answer.error);
        } else {
            conclude(ending, {.error = {answer.error.code(), Disposition::in_doubt,
                                        answer.error.text() + "; not said again, check-back will settle it"}});
        }
        return;
    }
    const remoting::ResponseCode code = answer.command->response_code();
    if (code == remoting::ResponseCode::success || code == remoting::ResponseCode::illegal_operation) {
        conclude(ending, outcome_of(*ending, *answer.command));
        return;
    }
    const Refusal refusal = response_error(*answer.command, "END of transaction " + ending->place.transaction_id);
    if (!ending->place.answers_end) {
        conclude(ending, {.error = {refusal.error.code(), Disposition::in_doubt,
                                    refusal.error.text() + "; check-back will settle it"}});
    } else if (refusal.error.disposition() == Disposition::reject || code == remoting::ResponseCode::no_permission) {
        conclude(ending, {.state = State::refused, .error = refusal.error});
    } else {
        repeat_or(now, ending, refusal.error);
    }
}

txmsg::EndOutcome HalfMachine::outcome_of(const Ending& ending, const remoting::CommandView& answer) const {
    namespace state = remoting::transaction_state;
    txmsg::EndOutcome said;
    const auto response = remoting::EndTransactionResponse::decode(answer);
    said.decided_before = response && response->decided_before;
    if (answer.response_code() != remoting::ResponseCode::success) {
        said.state = ending.place.answers_end ? State::refused : State::unknown;
        said.error = {ErrorCode::conflict, ending.place.answers_end ? Disposition::reject : Disposition::in_doubt,
                      "END of transaction " + ending.place.transaction_id +
                          " was refused: " + std::string{answer.remark.substr(0, 300)}};
        return said;
    }
    const std::string_view word = response ? response->state : std::string_view{};
    if (word == state::parked) {
        said.state = State::parked;
        said.error = {ErrorCode::conflict, Disposition::reject,
                      "transaction " + ending.place.transaction_id +
                          " is parked: " + std::string{answer.remark.substr(0, 300)} + "; look at it with hufu tx show"};
    } else if (word == state::pending) {
        said.state = State::pending;
    } else if (word == state::committed || word == state::rolled_back) {
        said.state = word == state::committed ? State::committed : State::rolled_back;
    } else {
        said.state = ending.job->verdict == Verdict::commit     ? State::committed
                     : ending.job->verdict == Verdict::rollback ? State::rolled_back
                                                                : State::pending;
    }
    return said;
}

void HalfMachine::repeat_or(SteadyTime now, const EndingPtr& ending, Error error) {
    if (now + ending->wait >= ending->job->deadline) {
        conclude(ending, {.error = {error.code(), Disposition::retry,
                                    "END was not answered within " + std::to_string(options_.end_timeout.count()) +
                                        " ms: " + error.text() + "; check-back will settle it"}});
        return;
    }
    ending->again_at = now + ending->wait;
    ending->wait = std::min(ending->wait * 2, wait_most);
}

void HalfMachine::conclude(const EndingPtr& ending, txmsg::EndOutcome said) {
    if (endings_.erase(ending) == 0) {
        return;
    }
    EndJob& job = *ending->job;
    if (!job.any || weight(said.state) > weight(job.outcome->state)) {
        said.decided_before = said.decided_before && (!job.any || job.outcome->decided_before);
        *job.outcome = std::move(said);
    } else {
        job.outcome->decided_before = job.outcome->decided_before && said.decided_before;
    }
    job.any = true;
    if (--job.open == 0) {
        finished_.push_back(std::move(job.done));
    }
}

void HalfMachine::answer(SteadyTime now, const txmsg::HalfContext& context, const txmsg::Half& half, Verdict verdict,
                         std::string_view reason) {
    const auto place = HalfPlace::of_token(half.token);
    if (!place || closed_) {
        return;
    }
    const std::string group = wire_group(context.group, context.handler);
    auto request = request_of(*place, group, half.topic, verdict, reason);
    request.from_check = true;
    if (!place->answers_end) {
        cluster_.post(place->address, remoting::RequestCode::end_transaction, request);
        return;
    }
    cluster_.call(now, place->address, remoting::RequestCode::end_transaction, request, {}, options_.end_answer_timeout,
                  [this, id = place->transaction_id](SteadyTime, const Answer& answer) {
                      if (answer.command != nullptr && answer.command->response_code() != remoting::ResponseCode::success) {
                          log_.warning(
                              "the answer to a check was refused",
                              {{"transaction", id}, {"reason", std::string{answer.command->remark.substr(0, 300)}}});
                      }
                  });
}

}  // namespace hufu::rocketmq
