// Runs one transaction message over a broker, a local transaction and a verdict store: what every adapter's producer does.
#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <stop_token>
#include <type_traits>
#include <utility>

#include <hufu/core/clock.hpp>
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

/// What a user writes: changes rows, then says whether they stay. A function that returns nothing means `commit`. Must
/// neither commit nor roll back. An exception rolls back.
template <class Transaction>
class Local {
public:
    template <std::invocable<Transaction&> Function>
    Local(Function function)  // NOLINT(google-explicit-constructor): lambdas are handed in
        : run_{[f = std::move(function)](Transaction& transaction) mutable {
              if constexpr (std::is_void_v<std::invoke_result_t<Function&, Transaction&>>) {
                  f(transaction);
                  return Decision::commit;
              } else {
                  return static_cast<Decision>(f(transaction));
              }
          }} {}
    Decision operator()(Transaction& transaction) const { return run_(transaction); }

private:
    std::function<Decision(Transaction&)> run_;
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
