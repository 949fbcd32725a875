#include "transaction_ledger.hpp"

#include <algorithm>

#include <hufu/remoting/ids.hpp>

namespace hufu::simulation {

void TransactionLedger::complain(std::string promise, const std::string& what) {
    if (violations_.size() < 20) violations_.push_back({std::move(promise), what});
}

void TransactionLedger::began(const TransactionId& transaction, const std::vector<Message>& messages) {
    Entry& entry = entries_[transaction];
    for (const Message& message : messages) {
        entry.keys.push_back(remoting::unique_key(message.id));
        messages_[entry.keys.back()] = {transaction, 0};
    }
}

void TransactionLedger::forgotten(const TransactionId& transaction) {
    if (const auto found = entries_.find(transaction); found != entries_.end()) found->second.forgotten = true;
}

void TransactionLedger::answered(const TransactionId& transaction, State state) {
    Entry& entry = entries_.at(transaction);
    if (state == State::committed) entry.said_committed = true;
    if (state == State::rolled_back) entry.said_rolled_back = true;
    if (entry.said_committed && entry.said_rolled_back)
        complain("P5", "transaction " + transaction.to_string() + " was called committed, and rolled back");
}

void TransactionLedger::seen(const std::string& unique_key, const std::string& place, bool intact) {
    if (!intact) return complain("P2", "the broker served a damaged record at " + place);
    const auto found = messages_.find(unique_key);
    if (found == messages_.end())
        return complain("P5", "at " + place + " is message " + unique_key + ", which nobody wrote");
    const TransactionId& transaction = found->second.transaction;
    const Entry& entry = entries_.at(transaction);
    if (++found->second.count == 2) {
        complain("P5", "message " + unique_key + " of transaction " + transaction.to_string() +
                           " is visible a second time, at " + place);
    }
    if (!entry.committed && !entry.forced && !entry.forgotten) {
        complain("P5", "message " + unique_key + " at " + place + " is visible, and transaction " + transaction.to_string() +
                           " is not committed");
    }
}

bool TransactionLedger::visible(const Entry& entry) const {
    return std::all_of(entry.keys.begin(), entry.keys.end(),
                       [this](const std::string& key) { return messages_.at(key).count > 0; });
}

bool TransactionLedger::all_settled(const std::map<std::string, std::string>& undecided) const {
    for (const auto& [transaction, entry] : entries_) {
        const auto waits = undecided.find(transaction.to_string());
        if (waits != undecided.end() && !entry.may_stay_parked) return false;
        if (entry.committed && waits == undecided.end() && !entry.forgotten && !entry.forced && !visible(entry))
            return false;
    }
    return true;
}

void TransactionLedger::check(const std::map<std::string, std::string>& undecided) {
    for (const auto& [transaction, entry] : entries_) {
        const std::string name = "transaction " + transaction.to_string();
        const auto waits = undecided.find(transaction.to_string());
        if (waits != undecided.end()) {
            const bool excused = entry.may_stay_parked || entry.forgotten || entry.forced;
            if (!excused) complain("P2", name + " has no verdict although its service lives: " + waits->second);
            continue;
        }
        if (entry.forgotten || entry.forced) continue;
        if (entry.committed && !visible(entry)) {
            complain("P1", name + " committed its rows, and not all of its " + std::to_string(entry.keys.size()) +
                               " messages are visible or parked");
        }
        if (entry.said_committed && !entry.committed) complain("P5", name + " was called committed without its rows");
    }
}

}  // namespace hufu::simulation
