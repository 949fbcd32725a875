// What ladder and replay promised in one run, and whether the broker's consumers agree.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/message.hpp>

#include "ledger.hpp"

namespace hufu::simulation {

/// P6, as it is judged here:
/// - What was accepted (`publish` ended `confirmed`) has one effect at the end, however often its message arrived.
/// - The first arrivals of a key's accepted messages are in the order in which they were accepted.
/// - No buffer forgets an entry before somebody was told the broker's confirm of its message.
/// - While the last rung has a good disk every call is accepted, and within a bounded time.
/// - Only what a crash of the shared buffer took, and was held by nobody else, is excused: of the last second, and only where
///   the buffer states it. Such a message may also arrive late (a copy was under way to the broker): it has no order then.
class LadderLedger {
public:
    void called(const Message& message) {
        entries_[message.id] = {.key = message.topic + "/" + message.ordering_key, .name = message.body};
    }
    /// `where`: the broker's id of it, or "buffer:" + rung. `key_is_ordered`: false without an ordering key.
    void accepted(const Message& message, std::string_view where);
    /// A process was told that the broker has it.
    void confirmed(const MessageId& id) { confirmed_.insert(id); }
    void trimmed(const MessageId& id, std::string_view buffer);
    /// A crash of the shared buffer took the entry, as that states.
    void lost(const MessageId& id) { lost_.insert(id); }
    /// No buffer may lose anything.
    void complain(std::string text);

    [[nodiscard]] std::uint64_t accepted_count() const { return accepted_; }
    [[nodiscard]] std::uint64_t lost_count() const { return lost_.size(); }
    /// Compares with the effects, in the order in which they happened.
    void judge(const std::vector<Effect>& effects);
    [[nodiscard]] const std::vector<Violation>& violations() const { return violations_; }

private:
    struct Entry {
        std::string key;
        std::string name;               // for people
        std::uint64_t accepted_as = 0;  // 0: it was not, as far as its caller knows
        bool in_shared_buffer = false;
        bool ordered = false;
    };
    [[nodiscard]] bool excused(const MessageId& id, const Entry& entry) const;

    std::map<MessageId, Entry> entries_;
    std::set<MessageId> confirmed_;
    std::set<MessageId> lost_;
    std::uint64_t accepted_ = 0;
    std::vector<Violation> violations_;
};

}  // namespace hufu::simulation
