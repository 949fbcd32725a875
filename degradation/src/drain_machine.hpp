// What is done with entries that were taken out of a buffer: published, trimmed, parked, or left for later.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/publisher.hpp>
#include <hufu/degradation/buffer.hpp>

namespace hufu::degradation {

/// One batch at a time: `take`, publish its messages, `settle`. Not thread-safe.
///
/// An entry is trimmed after a broker confirmed it, so a crash repeats and never loses. Of a key nothing goes ahead of an
/// entry that was not confirmed; what a broker rejects is parked, and so are the later entries of its key.
class DrainMachine {
public:
    struct Settled {
        std::vector<EntryId> trim = {};
        struct Parked {
            EntryId entry = {};
            std::string reason = {};
        };
        std::vector<Parked> park = {};
        std::size_t confirmed = 0;
        bool again = false;  ///< some were left: release, and read them again after a while
    };

    /// `held[i]`: an earlier rung holds the key of `entries[i]`; then it is left. Empty: none. `parked`: keys of which the
    /// buffer has something set aside, as it says now: a person may have put it back, and an earlier process may have set it
    /// aside. Returns what to publish, in order; it stays here until `settle`.
    [[nodiscard]] std::span<const Message> take(std::vector<Entry> entries, const std::vector<bool>& held,
                                                std::set<ConsumerKey> parked);
    [[nodiscard]] Settled settle(std::span<const PublishOutcome> outcomes);

private:
    std::vector<EntryId> ids_;           // of messages_
    std::vector<Message> messages_;      // to be published
    Settled early_;                      // decided without publishing
    std::set<ConsumerKey> parked_keys_;  // of this batch
};

}  // namespace hufu::degradation
