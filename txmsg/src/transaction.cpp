#include <hufu/txmsg/transaction.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hufu::txmsg {
namespace {

/// Waits for a `Done`.
class Latch {
public:
    [[nodiscard]] HalfPublisher::Done done() {
        return [this] {
            // Notified under the lock: the waiter may destroy this as soon as it has it.
            const std::scoped_lock lock{mutex_};
            open_ = true;
            opened_.notify_one();
        };
    }
    void wait() {
        std::unique_lock lock{mutex_};
        opened_.wait(lock, [this] { return open_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;  // guarded by mutex_
};

Error error_of_current_exception() {
    try {
        throw;
    } catch (const Exception& exception) {
        return exception.error();
    } catch (const std::exception& exception) {
        return Error{ErrorCode::internal, Disposition::abort_transaction, exception.what()};
    } catch (...) {
        return Error{ErrorCode::internal, Disposition::abort_transaction, "an exception that is no std::exception"};
    }
}

void prepare(ProducerMachine& machine, HalfPublisher& publisher, std::span<const Message> messages, Clock& clock) {
    std::vector<HalfOutcome> outcomes(messages.size());
    Latch latch;
    publisher.prepare(machine.context(), messages, outcomes, latch.done());
    latch.wait();
    machine.prepared(outcomes, clock.steady_now());
}

void end(ProducerMachine& machine, HalfPublisher& publisher, Clock& clock) {
    EndOutcome outcome;
    Latch latch;
    publisher.end(machine.context(), machine.halves(), machine.verdict(), machine.reason(), outcome, latch.done());
    latch.wait();
    machine.ended(std::move(outcome), clock.steady_now());
}

}  // namespace

TransactionResult run_transaction(ProducerMachine machine, HalfPublisher& publisher, std::span<const Message> messages,
                                  LocalTransaction& transaction, VerdictStore& store, const std::function<Decision()>& local,
                                  Clock& clock, std::stop_token stop) {
    std::exception_ptr thrown;
    const auto answer = [&](const Result<void>& result) {
        result ? machine.done(clock.steady_now()) : machine.failed(result.error(), clock.steady_now());
    };
    for (;;) {
        if (stop.stop_requested()) {
            machine.hurry();
        }
        switch (machine.next()) {
            case ProducerAction::prepare: prepare(machine, publisher, messages, clock); break;
            case ProducerAction::begin: answer(transaction.begin()); break;
            case ProducerAction::insert_verdict: answer(transaction.insert_verdict(machine.context().transaction)); break;
            case ProducerAction::run_local: try { machine.returned(local());
                } catch (...) {
                    thrown = std::current_exception();
                    machine.threw(error_of_current_exception());
                }
                break;
            case ProducerAction::commit: answer(transaction.commit()); break;
            case ProducerAction::roll_back:
                transaction.roll_back();
                machine.done(clock.steady_now());
                break;
            case ProducerAction::check:
                machine.checked(store.check(machine.context().transaction), clock.steady_now());
                break;
            case ProducerAction::wait:
                clock.sleep_until(machine.wait_until(), stop);
                machine.waited();
                break;
            case ProducerAction::end: end(machine, publisher, clock); break;
            case ProducerAction::finished:
                if (thrown) {
                    std::rethrow_exception(thrown);
                }
                return machine.result();
        }
    }
}

Result<void> make_halves(std::span<Message> messages, MessageIdGenerator& ids) {
    if (messages.empty()) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "a transaction message without a message: give at least one"};
    }
    if (messages.size() > 128) {
        return Error{ErrorCode::too_large, Disposition::reject,
                     "one transaction with " + std::to_string(messages.size()) + " messages: at most 128 go together"};
    }
    std::set<MessageId> seen;
    for (auto& message : messages) {
        if (const auto valid = validate(message); !valid) {
            return valid.error();
        }
        if (message.id.is_nil()) {
            message.id = ids.next();
        }
        if (!seen.insert(message.id).second) {
            return Error{ErrorCode::invalid_argument, Disposition::reject,
                         "message id " + message.id.to_string() + " stands twice in one transaction"};
        }
    }
    return {};
}

}  // namespace hufu::txmsg
