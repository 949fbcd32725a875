#include "service_node.hpp"

#include <chrono>
#include <utility>

#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;
using txmsg::FencedAction;
using txmsg::ProducerAction;
using txmsg::Verdict;

namespace {

constexpr auto lock_timeout = 40ms;

Error lost() { return {ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"}; }

txmsg::ProducerRules quick_producer() {
    return {.self_check_for = 300ms, .end_for = 400ms, .wait_first = 5ms, .wait_most = 50ms};
}

}  // namespace

const std::vector<std::string>& ServiceNode::handlers() {
    static const std::vector<std::string> names{"order-paid", "order-shipped"};
    return names;
}

void ServiceNode::later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] {
        if (life != life_) return;
        if (paused_until_ > events_.now()) {
            events_.at(paused_until_, [this, life, event] {
                if (life == life_) later(0us, 50us, event);
            });
            return;
        }
        event();
    });
}

void ServiceNode::start() {
    ++life_;
    paused_until_ = {};
    responder_ = std::make_unique<txmsg::ResponderMachine>(txmsg::ResponderRules{
        .store = database_.uuid(), .handlers = {handlers().begin(), handlers().end()}, .answer_within = 500ms});
    std::vector<std::string> groups;
    for (const auto& handler : handlers()) groups.push_back(producer_group(group, handler));
    link_ = std::make_unique<ServiceLink>(
        name_ + "." + std::to_string(life_), groups, events_, broker_,
        [this](const WireCommand& request) { later(0us, 20us, [this, request] { asked(request); }); });
}

void ServiceNode::kill() {
    ++life_;
    // Its sessions end when the database notices.
    for (const auto handle : sessions_) lost_session(handle);
    sessions_.clear();
    link_.reset();
    responder_.reset();
    questions_.clear();
    runs_ = 0;
}

void ServiceNode::pause(EventQueue::Duration for_how_long) { paused_until_ = events_.now() + for_how_long; }

void ServiceNode::reset_connection() {
    if (link_) link_->reset();
}

void ServiceNode::lost_session(VerdictDatabase::Handle handle) {
    events_.between(10us, 200ms, [this, handle] { database_.roll_back(handle); });
}

void ServiceNode::send(BusinessPlan plan) {
    ++runs_;
    const auto context = plan.context;
    ledger_.began(context.transaction, plan.messages);
    auto run = std::make_shared<Run>(Run{std::move(plan), txmsg::ProducerMachine{context, quick_producer()}, {}});
    later(0us, 50us, [this, run] { advance(run); });
}

void ServiceNode::advance(const RunPointer& run) {
    auto& machine = run->machine;
    const auto go_on = [this, run] { later(5us, 200us, [this, run] { advance(run); }); };
    switch (machine.next()) {
        case ProducerAction::prepare: return prepare(run);
        case ProducerAction::begin:
            run->handle = database_.begin();
            sessions_.insert(run->handle);
            run->lock_until = events_.now() + lock_timeout;
            machine.done(events_.now());
            return go_on();
        case ProducerAction::insert_verdict: return insert_verdict(run);
        case ProducerAction::run_local: return run_local(run);
        case ProducerAction::commit: return commit(run);
        case ProducerAction::roll_back:
            database_.roll_back(run->handle);
            sessions_.erase(run->handle);
            machine.done(events_.now());
            return go_on();
        case ProducerAction::check:
            return check(machine.context().transaction, [this, run, go_on](const Result<txmsg::Seen>& seen) {
                run->machine.checked(seen, events_.now());
                go_on();
            });
        case ProducerAction::wait: {
            const auto wait = std::max(machine.wait_until() - events_.now(), EventQueue::Duration{1us});
            return later(wait, wait, [this, run, go_on] {
                run->machine.waited();
                go_on();
            });
        }
        case ProducerAction::end: return end(run);
        case ProducerAction::finished: --runs_;
    }
}

void ServiceNode::prepare(const RunPointer& run) {
    run->outcomes.assign(run->plan.messages.size(), {});
    run->open_halves = run->plan.messages.size();
    for (std::size_t at = 0; at < run->plan.messages.size(); ++at) send_half(run, at, 3);
}

void ServiceNode::send_half(const RunPointer& run, std::size_t at, int tries) {
    const Message& message = run->plan.messages[at];
    txmsg::HalfOutcome& outcome = run->outcomes[at];
    outcome.half.id = message.id;
    outcome.half.topic = message.topic;
    const auto frame = [run, at](std::int32_t opaque) {
        return half_frame(run->plan.context, run->plan.messages[at], static_cast<std::int32_t>(at % 2), opaque);
    };
    link_->call(frame, 60ms, [this, run, at, tries](const std::optional<WireCommand>& answer) {
        txmsg::HalfOutcome& mine = run->outcomes[at];
        if (!answer && tries > 1) return send_half(run, at, tries - 1);
        const auto address =
            answer && answer->is(remoting::ResponseCode::success) ? address_in_answer(*answer) : std::nullopt;
        if (address) {
            mine.status = PublishStatus::confirmed;
            mine.half.token = address->token();
        } else if (answer && tries > 1 && answer->is(remoting::ResponseCode::system_busy)) {
            return later(1ms, 10ms, [this, run, at, tries] { send_half(run, at, tries - 1); });
        } else {
            mine.error = Error{ErrorCode::unavailable, Disposition::retry, answer ? answer->remark : "no answer"};
            if (answer) mine.status = PublishStatus::rejected;
        }
        if (--run->open_halves > 0) return;
        later(0us, 20us, [this, run] {
            run->machine.prepared(run->outcomes, events_.now());
            advance(run);
        });
    });
}

void ServiceNode::insert_verdict(const RunPointer& run) {
    const auto& transaction = run->machine.context().transaction;
    const auto refuse = [&](std::string why) {
        run->machine.failed(Error{ErrorCode::conflict, Disposition::abort_transaction, std::move(why)}, events_.now());
    };
    if (!database_.is_open(run->handle)) {
        refuse("the database connection was lost");
    } else {
        switch (database_.insert(run->handle, transaction, Verdict::commit)) {
            case VerdictDatabase::Inserted::present: refuse("a tombstone is there"); break;
            case VerdictDatabase::Inserted::waits:
                if (events_.now() < run->lock_until) return later(1ms, 2ms, [this, run] { insert_verdict(run); });
                refuse("a check is running");
                break;
            case VerdictDatabase::Inserted::inserted:
                if (txmsg::begun_at(transaction) < database_.read(run->handle, transaction).watermark) {
                    refuse("the transaction is older than the verdicts that are kept");
                } else {
                    run->machine.done(events_.now());
                }
        }
    }
    later(5us, 200us, [this, run] { advance(run); });
}

void ServiceNode::run_local(const RunPointer& run) {
    later(run->plan.takes, run->plan.takes, [this, run] {
        if (database_.is_open(run->handle)) database_.change_business(run->handle, run->machine.context().transaction);
        if (run->plan.fails) {
            run->machine.threw(Error{ErrorCode::internal, Disposition::abort_transaction, "out of stock"});
        } else {
            run->machine.returned(run->plan.roll_back ? txmsg::Decision::rollback : txmsg::Decision::commit);
        }
        advance(run);
    });
}

void ServiceNode::commit(const RunPointer& run) {
    // COMMIT is on its way: it reaches the database whether or not its sender lives to hear the answer.
    sessions_.erase(run->handle);
    const bool request_lost = events_.chance(60);
    const bool answer_lost = events_.chance(40);
    events_.between(10us, 300us, [this, run, life = life_, request_lost, answer_lost] {
        std::optional<std::vector<txmsg::TransactionId>> committed;
        if (request_lost) {
            lost_session(run->handle);
        } else if ((committed = database_.commit(run->handle))) {
            for (const auto& transaction : *committed) ledger_.committed(transaction);
            events_.note(name_, " commits ", run->machine.context().transaction.to_string());
        }
        if (life != life_) return;
        later(10us, 300us, [this, run, certain = committed.has_value() && !answer_lost] {
            certain ? run->machine.done(events_.now()) : run->machine.failed(lost(), events_.now());
            advance(run);
        });
    });
}

void ServiceNode::end(const RunPointer& run) {
    const auto& machine = run->machine;
    const EndWords words{producer_group(group, machine.context().handler),
                         machine.context().transaction.to_string(),
                         HalfAddress::of_token(machine.halves().front().token),
                         machine.verdict(),
                         false,
                         machine.reason()};
    events_.note(name_, " says END ", txmsg::to_string(machine.verdict()), " of ", words.transaction);
    if (run->plan.end_one_way) {
        link_->tell(end_frame(words, 0, true));
        return later(5us, 50us, [this, run] {
            run->machine.ended({}, events_.now());
            advance(run);
        });
    }
    link_->call([words](std::int32_t opaque) { return end_frame(words, opaque, false); }, 60ms,
                [this, run](const std::optional<WireCommand>& answer) { end_answered(run, answer); });
}

void ServiceNode::end_answered(const RunPointer& run, const std::optional<WireCommand>& answer) {
    txmsg::EndOutcome outcome;
    if (!answer) {
        outcome.error = Error{ErrorCode::unavailable, Disposition::retry, "no answer"};
    } else if (answer->is(remoting::ResponseCode::illegal_operation)) {
        outcome.state = txmsg::EndOutcome::State::refused;
        outcome.error = Error{ErrorCode::conflict, Disposition::reject, answer->remark};
    } else if (answer->is(remoting::ResponseCode::success)) {
        const auto state = answer->field("transactionState");
        outcome.state = state == "committed"     ? txmsg::EndOutcome::State::committed
                        : state == "rolled_back" ? txmsg::EndOutcome::State::rolled_back
                                                 : txmsg::EndOutcome::State::pending;
    } else {
        outcome.error = Error{ErrorCode::unavailable, Disposition::retry, answer->remark};
    }
    note_answer(answer, run->machine.context().transaction);
    later(5us, 50us, [this, run, outcome] {
        run->machine.ended(outcome, events_.now());
        advance(run);
    });
}

void ServiceNode::note_answer(const std::optional<WireCommand>& answer, const txmsg::TransactionId& transaction) {
    if (!answer) return;
    events_.note(name_, " hears of ", transaction.to_string(), ": ", answer->code, " ", answer->field("transactionState"),
                 " ", answer->remark);
    if (!answer->is(remoting::ResponseCode::success)) return;
    const auto state = answer->field("transactionState");
    if (state == "committed") ledger_.answered(transaction, txmsg::EndOutcome::State::committed);
    if (state == "rolled_back") ledger_.answered(transaction, txmsg::EndOutcome::State::rolled_back);
}

}  // namespace hufu::simulation
