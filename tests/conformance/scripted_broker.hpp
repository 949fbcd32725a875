// The broker's side of a transaction message as a test wants it: what was prepared, what END said, checks on demand.
#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hufu/txmsg/half_publisher.hpp>

namespace hufu::conformance {

class ScriptedBroker final : public txmsg::HalfPublisher {
public:
    struct Transaction {
        txmsg::HalfContext context;
        std::vector<Message> halves;
        std::vector<txmsg::Verdict> ends;
    };

    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        {
            const std::scoped_lock lock{mutex_};
            auto& transaction = transactions_[context.transaction];
            transaction.context = context;
            for (std::size_t i = 0; i < messages.size(); ++i) {
                transaction.halves.push_back(messages[i]);
                outcomes[i].half = {messages[i].id, messages[i].topic, "token"};
                outcomes[i].status = refuse ? PublishStatus::not_sent : PublishStatus::confirmed;
                if (refuse) {
                    outcomes[i].error = *refuse;
                }
            }
        }
        if (after_prepare) {
            after_prepare(context);
        }
        done();
    }

    void end(const txmsg::HalfContext& context, std::span<const txmsg::Half>, txmsg::Verdict verdict, std::string_view,
             txmsg::EndOutcome& outcome, Done done) override {
        {
            const std::scoped_lock lock{mutex_};
            transactions_.at(context.transaction).ends.push_back(verdict);
        }
        if (answer_ends) {
            outcome.state = verdict == txmsg::Verdict::commit ? txmsg::EndOutcome::State::committed
                                                              : txmsg::EndOutcome::State::rolled_back;
        } else {
            outcome.error = Error{ErrorCode::timeout, Disposition::in_doubt, "the broker is silent"};
        }
        done();
    }

    Result<void> serve_checks(std::string group, std::vector<std::string>, OnCheck on_check) override {
        const std::scoped_lock lock{mutex_};
        if (on_check) {
            on_check_[group] = std::move(on_check);
        } else {
            on_check_.erase(group);
        }
        return {};
    }

    /// Asks the group's responder, and waits for its answer; nothing: it keeps silent.
    std::optional<std::pair<txmsg::Verdict, std::string>> ask(const txmsg::HalfContext& context) {
        OnCheck on_check;
        {
            const std::scoped_lock lock{mutex_};
            on_check = on_check_.at(context.group);
        }
        auto answer = std::make_shared<std::promise<std::pair<txmsg::Verdict, std::string>>>();
        auto answered = answer->get_future();
        txmsg::Check check;
        check.context = context;
        on_check(std::move(check), [answer](txmsg::Verdict verdict, std::string reason) {
            answer->set_value({verdict, std::move(reason)});
        });
        answer.reset();  // an unused answer breaks the promise
        try {
            return answered.get();
        } catch (const std::future_error&) {
            return std::nullopt;
        }
    }

    Transaction transaction(const txmsg::TransactionId& id) {
        const std::scoped_lock lock{mutex_};
        return transactions_.at(id);
    }

    // Set before use.
    std::function<void(const txmsg::HalfContext&)> after_prepare;
    std::optional<Error> refuse;
    bool answer_ends = true;

private:
    std::mutex mutex_;
    std::map<txmsg::TransactionId, Transaction> transactions_;  // guarded by mutex_
    std::map<std::string, OnCheck> on_check_;                   // guarded by mutex_
};

}  // namespace hufu::conformance
