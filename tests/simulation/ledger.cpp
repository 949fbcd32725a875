#include "ledger.hpp"

namespace hufu::simulation {
namespace {
std::string describe(const MessageId& id, const std::string& key, std::uint64_t version) {
    return "message " + id.to_string() + " (key \"" + key + "\", version " + std::to_string(version) + ")";
}
}  // namespace

std::vector<MessageId> Ledger::missing(const std::vector<Effect>& effects) const {
    std::set<MessageId> done;
    for (const Effect& effect : effects) done.insert(effect.id);
    std::vector<MessageId> missing;
    for (const auto& [id, entry] : entries_) {
        if (entry.committed && !entry.lost_by_failover && !entry.discarded && !done.contains(id)) missing.push_back(id);
    }
    return missing;
}

std::vector<Violation> Ledger::check(const std::vector<Effect>& effects) const {
    std::vector<Violation> violations;
    std::set<MessageId> done;
    std::map<std::string, std::uint64_t> latest;
    for (const Effect& effect : effects) {
        const auto found = entries_.find(effect.id);
        if (found == entries_.end()) {
            violations.push_back({"P1", "an effect of a message nobody wrote: " + effect.id.to_string()});
            continue;
        }
        const Entry& entry = found->second;
        if (!entry.committed) {
            violations.push_back({"P1", "an effect of a rolled-back " + describe(effect.id, entry.key, entry.version)});
        }
        if (!done.insert(effect.id).second) {
            violations.push_back({"P3", "a second effect of " + describe(effect.id, entry.key, entry.version)});
            continue;
        }
        if (entry.key.empty() || entry.lost_by_failover) continue;
        std::uint64_t& last = latest[entry.key];
        if (entry.version <= last) {
            violations.push_back({"P4", describe(effect.id, entry.key, entry.version) + " took effect after version " +
                                            std::to_string(last)});
        }
        last = std::max(last, entry.version);
    }
    for (const MessageId& id : missing(effects)) {
        const Entry& entry = entries_.at(id);
        violations.push_back({"P2", "no effect of committed " + describe(id, entry.key, entry.version)});
    }
    return violations;
}

}  // namespace hufu::simulation
