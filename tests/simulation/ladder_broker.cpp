#include "ladder_broker.hpp"

#include <memory>
#include <utility>

namespace hufu::simulation {

using namespace std::chrono_literals;

namespace {

PublishOutcome failed(PublishStatus status, ErrorCode code, const char* text) {
    const auto disposition = status == PublishStatus::rejected   ? Disposition::reject
                             : status == PublishStatus::in_doubt ? Disposition::in_doubt
                                                                 : Disposition::retry;
    return {.status = status, .error = Error{code, disposition, text}};
}

}  // namespace

void LadderBroker::publish(SimProcess& from, std::vector<Message> messages, Told told) {
    const auto life = from.life();
    const auto ended = std::make_shared<bool>(false);
    const auto end = [this, ended, told = std::move(told)](const std::vector<Message>& sent,
                                                           std::vector<PublishOutcome> outcomes) {
        if (std::exchange(*ended, true)) return;
        for (std::size_t index = 0; index < sent.size(); ++index) {
            if (outcomes[index].status == PublishStatus::confirmed) ledger_.confirmed(sent[index].id);
        }
        told(std::move(outcomes));
    };
    const auto all = std::make_shared<const std::vector<Message>>(std::move(messages));
    from.hear(life, patience, [end, all] {
        end(*all, {all->size(), failed(PublishStatus::in_doubt, ErrorCode::timeout, "no answer in time")});
    });
    if (!healed_ && events_.chance(50)) return;  // lost on its way
    const bool late = !healed_ && events_.chance(25);
    events_.between(late ? 50ms : 80us, late ? 1500ms : 1500us, [this, &from, life, end, all] {
        const SteadyTime now = events_.now();
        const auto answer = [&](std::vector<PublishOutcome> outcomes) {
            const EventQueue::Duration hop = 50us + std::chrono::microseconds{events_.random().below(1500)};
            from.hear(life, hop, [end, all, outcomes = std::move(outcomes)] { end(*all, outcomes); });
        };
        if (now < refuses_until_) {
            return answer({all->size(), failed(PublishStatus::not_sent, ErrorCode::unavailable, "connection refused")});
        }
        if (now < silent_until_) return;
        const bool died = std::exchange(dies_, false);
        auto outcomes =
            take(died ? std::vector(all->begin(),
                                    all->begin() + static_cast<std::ptrdiff_t>(events_.random().below(all->size() + 1)))
                      : *all);
        if (died) {
            refuse_connections(50ms + std::chrono::milliseconds{events_.random().below(600)});
            return answer({all->size(), failed(PublishStatus::in_doubt, ErrorCode::unavailable, "connection reset")});
        }
        if (healed_ || !events_.chance(30)) answer(std::move(outcomes));  // else the answer is lost
    });
}

std::vector<PublishOutcome> LadderBroker::take(const std::vector<Message>& messages) {
    std::vector<PublishOutcome> outcomes;
    std::set<std::string> stopped;
    for (const Message& message : messages) {
        if (stopped.contains(message.ordering_key)) {
            outcomes.push_back(failed(PublishStatus::not_sent, ErrorCode::cancelled, "behind one that was rejected"));
        } else if (!message.ordering_key.empty() && message.ordering_key == rejected_key_) {
            stopped.insert(message.ordering_key);
            outcomes.push_back(
                failed(PublishStatus::rejected, ErrorCode::permission, "not taken: the key has no right here"));
        } else {
            consume(message);
            outcomes.push_back({.status = PublishStatus::confirmed, .broker_id = std::to_string(arrivals_)});
        }
    }
    return outcomes;
}

/// One consumer, with a guard.
void LadderBroker::consume(const Message& message) {
    ++arrivals_;
    events_.note("arrives: ", message.body);
    const auto transaction = database_.begin();
    const auto seen = database_.insert(transaction, {"consumer", message.id});
    if (!seen->before) {
        database_.add_effect(transaction, {message.id, message.ordering_key, 0});
        database_.commit(transaction, events_.system_now());
    } else {
        database_.roll_back(transaction);
    }
}

void LadderBroker::heal() {
    refuses_until_ = silent_until_ = {};
    rejected_key_.clear();
    dies_ = false;
    healed_ = true;
}

}  // namespace hufu::simulation
