// What was promised to transaction messages in one run, and whether consumers saw the like.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <hufu/core/message.hpp>
#include <hufu/txmsg/half_publisher.hpp>

#include "ledger.hpp"

namespace hufu::simulation {

/// Knows which transactions committed their rows, what the broker answered, and what became visible.
class TransactionLedger {
public:
    using TransactionId = txmsg::TransactionId;
    using State = txmsg::EndOutcome::State;

    void began(const TransactionId& transaction, const std::vector<Message>& messages);
    /// Its business rows are committed, as of now.
    void committed(const TransactionId& transaction) { entries_.at(transaction).committed = true; }
    /// The database forgot what it had said: nobody can keep a promise any more.
    void forgotten(const TransactionId& transaction);
    /// A person decided without looking.
    void forced(const TransactionId& transaction) { entries_.at(transaction).forced = true; }
    /// Older than what the verdict table keeps: a person has to look.
    void beyond_retention(const TransactionId& transaction) { entries_.at(transaction).may_stay_parked = true; }
    /// An END was answered.
    void answered(const TransactionId& transaction, State state);
    /// A consumer was handed this message for the first time at this place.
    void seen(const std::string& unique_key, const std::string& place, bool intact);

    /// At the end: `undecided` maps what the broker lists (pending, parked, conflict) to its state and reason.
    void check(const std::map<std::string, std::string>& undecided);
    /// Committed transactions that are not visible as a whole, and what still waits for a verdict, that no person must look at.
    [[nodiscard]] bool all_settled(const std::map<std::string, std::string>& undecided) const;

    [[nodiscard]] std::size_t transactions() const { return entries_.size(); }
    [[nodiscard]] std::size_t messages() const { return messages_.size(); }
    [[nodiscard]] std::vector<Violation> take_violations() { return std::move(violations_); }
    void complain(std::string promise, const std::string& what);

private:
    struct Entry {
        std::vector<std::string> keys = {};  ///< UNIQ_KEY of each message
        bool committed = false;
        bool forgotten = false;
        bool forced = false;
        bool may_stay_parked = false;
        bool said_committed = false;
        bool said_rolled_back = false;
    };
    struct Copy {
        TransactionId transaction;
        std::size_t count = 0;
    };
    [[nodiscard]] bool visible(const Entry& entry) const;

    std::map<TransactionId, Entry> entries_;
    std::map<std::string, Copy> messages_;
    std::vector<Violation> violations_;
};

}  // namespace hufu::simulation
