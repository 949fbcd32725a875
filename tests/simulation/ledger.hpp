// What was promised in one run, and whether the effects agree.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "effect_database.hpp"

namespace hufu::simulation {

/// A broken promise of docs/guarantees.md.
struct Violation {
    std::string promise;  ///< P1 … P6
    std::string text;
};

/// Knows which messages were committed with business rows, and what became of them by other hands.
class Ledger {
public:
    struct Entry {
        std::string key;  ///< empty: no order
        std::uint64_t version = 0;
        bool committed = false;
        bool lost_by_failover = false;  ///< its commit is gone from the database; it may have been published
        bool discarded = false;         ///< a person threw it away
    };

    void attempted(const MessageId& id, std::string key, std::uint64_t version) { entries_[id] = {std::move(key), version}; }
    void committed(const MessageId& id) { entries_.at(id).committed = true; }
    void lost_by_failover(const MessageId& id) { entries_.at(id).lost_by_failover = true; }
    void discarded(const MessageId& id) { entries_.at(id).discarded = true; }
    [[nodiscard]] std::size_t size() const { return entries_.size(); }

    /// Committed messages that still must have an effect and have none.
    [[nodiscard]] std::vector<MessageId> missing(const std::vector<Effect>& effects) const;
    [[nodiscard]] std::vector<Violation> check(const std::vector<Effect>& effects) const;

private:
    std::map<MessageId, Entry> entries_;
};

}  // namespace hufu::simulation
