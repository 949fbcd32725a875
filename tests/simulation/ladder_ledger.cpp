#include "ladder_ledger.hpp"

#include <utility>

namespace hufu::simulation {

void LadderLedger::accepted(const Message& message, std::string_view where) {
    Entry& entry = entries_.at(message.id);
    entry.accepted_as = ++accepted_;
    entry.in_shared_buffer = where == "buffer:redis";
    entry.ordered = !message.ordering_key.empty();
}

void LadderLedger::trimmed(const MessageId& id, std::string_view buffer) {
    if (!confirmed_.contains(id)) {
        complain(std::string{buffer} + " forgot " + entries_.at(id).name + " before the broker's confirm of it was heard");
    }
}

void LadderLedger::complain(std::string text) {
    if (violations_.size() < 20) violations_.push_back({"P6", std::move(text)});
}

bool LadderLedger::excused(const MessageId& id, const Entry& entry) const {
    return entry.in_shared_buffer && lost_.contains(id);
}

void LadderLedger::judge(const std::vector<Effect>& effects) {
    std::map<MessageId, int> count;
    std::map<std::string, std::pair<std::uint64_t, MessageId>> newest;  // by key
    for (const Effect& effect : effects) {
        const Entry& entry = entries_.at(effect.id);
        if (++count[effect.id] > 1) complain(entry.name + " has a second effect");
        if (entry.accepted_as == 0 || !entry.ordered || excused(effect.id, entry)) continue;
        auto& [last, id] = newest[entry.key];
        if (entry.accepted_as < last) {
            complain("key " + entry.key + ": " + entry.name + " came after " + entries_.at(id).name +
                     ", which was accepted later");
        }
        last = entry.accepted_as;
        id = effect.id;
    }
    for (const auto& [id, entry] : entries_) {
        if (entry.accepted_as > 0 && !count.contains(id) && !excused(id, entry)) {
            complain(entry.name + " of key " + entry.key + " was accepted and never arrived");
        }
    }
}

}  // namespace hufu::simulation
