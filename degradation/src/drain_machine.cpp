#include "drain_machine.hpp"

#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::degradation {
namespace {

ConsumerKey key_of(const Message& message) { return {message.topic, message.ordering_key}; }

}  // namespace

std::span<const Message> DrainMachine::take(std::vector<Entry> entries, const std::vector<bool>& held,
                                            std::set<ConsumerKey> parked) {
    HUFU_ASSERT(messages_.empty() && (held.empty() || held.size() == entries.size()));
    early_ = {};
    parked_keys_ = std::move(parked);
    std::set<ConsumerKey> left;
    for (std::size_t index = 0; index < entries.size(); ++index) {
        Entry& entry = entries[index];
        const ConsumerKey key = key_of(entry.message);
        const bool keyed = !key.ordering_key.empty();
        if (keyed && parked_keys_.contains(key)) {
            early_.park.push_back({std::move(entry.id), "behind a rejected message of its key"});
        } else if (keyed && ((!held.empty() && held[index]) || left.contains(key))) {
            left.insert(key);
            early_.again = true;
        } else {
            if (mutant_active("drain_trims_before_confirm")) {
                early_.trim.push_back(entry.id);
            }
            ids_.push_back(std::move(entry.id));
            keep_first_stored_at(entry.message, entry.spilled_at);
            messages_.push_back(std::move(entry.message));
        }
    }
    return messages_;
}

DrainMachine::Settled DrainMachine::settle(std::span<const PublishOutcome> outcomes) {
    HUFU_ASSERT(outcomes.size() == messages_.size());
    Settled settled = std::exchange(early_, {});
    std::set<ConsumerKey> stopped;
    for (std::size_t index = 0; index < outcomes.size(); ++index) {
        const ConsumerKey key = key_of(messages_[index]);
        const bool keyed = !key.ordering_key.empty();
        const PublishOutcome& outcome = outcomes[index];
        if (keyed && parked_keys_.contains(key)) {
            settled.park.push_back({std::move(ids_[index]), "behind a rejected message of its key"});
        } else if (keyed && stopped.contains(key)) {
            settled.again = true;
        } else if (outcome.status == PublishStatus::confirmed) {
            ++settled.confirmed;
            settled.trim.push_back(std::move(ids_[index]));
        } else if (outcome.status == PublishStatus::rejected) {
            settled.park.push_back({std::move(ids_[index]), outcome.error.text()});
            if (keyed) {
                parked_keys_.insert(key);
            }
        } else {
            settled.again = true;
            if (keyed) {
                stopped.insert(key);
            }
        }
    }
    ids_.clear();
    messages_.clear();
    return settled;
}

}  // namespace hufu::degradation
