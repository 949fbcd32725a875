// Runs one transaction message over a broker, a local transaction and a verdict store: what every adapter's producer does.
#pragma once

#include <functional>
#include <span>
#include <stop_token>

#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>
#include <hufu/txmsg/producer_machine.hpp>

namespace hufu::txmsg {

/// The local transaction as the producer sees it. Belongs to one thread.
class LocalTransaction {
public:
    virtual ~LocalTransaction() = default;
    virtual Result<void> begin() = 0;
    /// The row (transaction, commit). `conflict` when a tombstone is there, or the transaction is older than what the
    /// store keeps: it must not commit any more.
    virtual Result<void> insert_verdict(const TransactionId& transaction) = 0;
    /// An `in_doubt` error means that it may have been committed; every other one that it certainly was not.
    virtual Result<void> commit() = 0;
    virtual void roll_back() noexcept = 0;
};

/// What a send goes by. The defaults suit a service with one kind of transaction message.
struct SendOptions {
    std::string handler = {};  ///< which handler of the group answers checks; see `ResponderOptions`
    std::optional<std::chrono::seconds> first_check_after = {};  ///< longer than the local transaction usually takes
};

/// Drives a machine to its end. `messages` are the halves (ids set). An exception of `local` rolls back, says so to the
/// broker, and is thrown on. A stop ends waiting and repeating early; check-back settles what is left.
[[nodiscard]] TransactionResult run_transaction(ProducerMachine machine, HalfPublisher& publisher,
                                                std::span<const Message> messages, LocalTransaction& transaction,
                                                VerdictStore& store, const std::function<Decision()>& local, Clock& clock,
                                                std::stop_token stop = {});

/// Checks what no broker takes as a half, and sets ids that are nil. `invalid_argument` names the message and the rule.
[[nodiscard]] Result<void> make_halves(std::span<Message> messages, MessageIdGenerator& ids);

}  // namespace hufu::txmsg
