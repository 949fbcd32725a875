// How a service answers checks: its responder, and the fenced check against the database.
#include <chrono>
#include <span>
#include <utility>

#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

#include "service_node.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using txmsg::FencedAction;
using txmsg::Verdict;

namespace {

constexpr auto lock_timeout = 20ms;

Error lost() { return {ErrorCode::unavailable, Disposition::in_doubt, "the database connection was lost"}; }

}  // namespace

void ServiceNode::asked(const WireCommand& request) {
    if (request.code != static_cast<std::int32_t>(remoting::RequestCode::check_transaction_state)) return;
    const auto record = remoting::decode_record(std::as_bytes(std::span{request.body}));
    if (!record) return ledger_.complain("P2", "a check without a record");
    const remoting::PropertiesView properties{record->properties};
    const std::string named{properties.get(remoting::property::producer_group).value_or("")};
    const auto percent = named.find('%');
    txmsg::HalfContext context;
    context.group = named.substr(0, percent);
    context.handler = percent == std::string::npos ? "" : named.substr(percent + 1);
    context.store = properties.get(remoting::property::hufu_verdict_store).value_or("");
    const std::string transaction{properties.get(remoting::property::hufu_transaction_id).value_or("")};
    const auto id = txmsg::TransactionId::parse(transaction);
    if (!id) return ledger_.complain("P2", "a check of transaction \"" + transaction + "\"");
    context.transaction = *id;
    const txmsg::CheckNumber number = ++last_question_;
    questions_[number] = {
        named, transaction, {request.number("tranStateTableOffset"), request.number("commitLogOffset")}, Verdict::unknown,
        true,  {}};
    events_.note(name_, " is asked about ", transaction);
    responder_->arrived(number, context, events_.now());
    obey_responder();
}

void ServiceNode::obey_responder() {
    for (const auto& action : responder_->take()) {
        switch (action.kind) {
            case txmsg::ResponderAction::Kind::ask_store:
                check(action.transaction, [this, number = action.number](const Result<txmsg::Seen>& seen) {
                    responder_->store_said(number, seen, events_.now());
                    obey_responder();
                });
                break;
            case txmsg::ResponderAction::Kind::answer: say(action); break;
            case txmsg::ResponderAction::Kind::ask_checker:
            case txmsg::ResponderAction::Kind::stay_silent: questions_.erase(action.number); break;
        }
    }
    const auto due = responder_->next_deadline();
    if (!due) return;
    const auto wait = std::max(*due - events_.now(), EventQueue::Duration{1us});
    later(wait, wait, [this, tick = ++tick_] {
        if (tick != tick_) return;
        responder_->tick(events_.now());
        obey_responder();
    });
}

void ServiceNode::say(const txmsg::ResponderAction& action) {
    const auto found = questions_.find(action.number);
    if (found == questions_.end()) return;
    EndWords words = std::move(found->second);
    questions_.erase(found);
    words.verdict = action.verdict;
    words.reason = action.reason;
    events_.note(name_, " answers a check of ", words.transaction, ": ", txmsg::to_string(action.verdict), ", ",
                 action.reason);
    if (events_.chance(4)) return link_->tell(end_frame(words, 0, true));  // as a stock client does
    link_->call([words](std::int32_t opaque) { return end_frame(words, opaque, false); }, 60ms,
                [this, id = action.transaction](const std::optional<WireCommand>& answer) { note_answer(answer, id); });
}

void ServiceNode::check(const txmsg::TransactionId& transaction, std::function<void(const Result<txmsg::Seen>&)> done) {
    auto run = std::make_shared<CheckRun>(CheckRun{txmsg::FencedCheck{transaction}, std::move(done)});
    later(5us, 200us, [this, run] { advance(run); });
}

void ServiceNode::advance(const std::shared_ptr<CheckRun>& run) {
    auto& check = run->check;
    const bool cut = check.next() != FencedAction::begin && check.next() != FencedAction::finished &&
                     (!database_.is_open(run->handle) || events_.chance(150));
    if (cut && check.next() != FencedAction::commit && check.next() != FencedAction::roll_back) {
        database_.roll_back(run->handle);
        sessions_.erase(run->handle);
        check.failed(lost());
        return later(5us, 200us, [this, run] { advance(run); });
    }
    switch (check.next()) {
        case FencedAction::begin:
            run->handle = database_.begin();
            sessions_.insert(run->handle);
            run->lock_until = events_.now() + lock_timeout;
            check.done();
            break;
        case FencedAction::insert_tombstone:
            switch (database_.insert(run->handle, check.transaction(), Verdict::rollback)) {
                case VerdictDatabase::Inserted::inserted: check.inserted(txmsg::Tombstone::inserted); break;
                case VerdictDatabase::Inserted::present: check.inserted(txmsg::Tombstone::present); break;
                case VerdictDatabase::Inserted::waits:
                    if (events_.now() < run->lock_until) return later(1ms, 2ms, [this, run] { advance(run); });
                    check.inserted(txmsg::Tombstone::locked);
            }
            break;
        case FencedAction::read: check.seen(database_.read(run->handle, check.transaction())); break;
        case FencedAction::commit:
            // A lost answer to COMMIT: the tombstone may stand, and the check says that it failed.
            if (database_.commit(run->handle) && !cut) {
                check.done();
            } else {
                check.failed(lost());
            }
            sessions_.erase(run->handle);
            break;
        case FencedAction::roll_back:
            database_.roll_back(run->handle);
            sessions_.erase(run->handle);
            check.done();
            break;
        case FencedAction::finished:
            if (check.outcome() && *check.outcome() == txmsg::Seen::beyond_retention) {
                ledger_.beyond_retention(check.transaction());
            }
            run->done(check.outcome());
            return;
    }
    later(5us, 200us, [this, run] { advance(run); });
}

}  // namespace hufu::simulation
