#include <hufu/idempotency/once_batch.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <hufu/core/assert.hpp>

namespace hufu::idempotency {
namespace {

using Results = std::vector<HandlerResult>;

bool is_done(Handled handled) { return handled == Handled::done || handled == Handled::already_done; }

HandlerResult alone(const BatchShell& shell, const Delivery& delivery) {
    try {
        return shell.alone(delivery);
    } catch (const std::exception& failure) {
        return {Handled::retry, std::string{"the effect threw: "} + failure.what()};
    } catch (...) {
        return {Handled::retry, "the effect threw something that is not a std::exception"};
    }
}

/// Rolls back unless it was committed, whatever is thrown.
struct Open {
    EffectTransaction& transaction;
    bool open = true;
    ~Open() {
        if (open) transaction.roll_back();
    }
};

/// Places of the batch by id, each id once: a message that came twice is a duplicate of itself.
std::map<MessageId, std::size_t> places(std::span<const Delivery* const> batch) {
    std::map<MessageId, std::size_t> all;
    for (std::size_t place = 0; place < batch.size(); ++place) all.emplace(batch[place]->message.id, place);
    return all;
}

/// Those that were run; the others are to be settled alone. Nothing when the transaction did not come to its end.
std::optional<std::set<std::size_t>> together(const std::string& group, std::span<const Delivery* const> batch,
                                              const BatchShell& shell) {
    if (!shell.transaction.begin()) return std::nullopt;
    Open open{shell.transaction};
    const auto by_id = places(batch);
    std::vector<GuardKey> keys;
    for (const auto& [id, place] : by_id) keys.push_back({group, id});
    const auto seen = shell.rows.insert_all(keys);
    if (!seen) return std::nullopt;
    HUFU_ASSERT(seen->size() == keys.size());

    std::set<std::size_t> ours;
    std::size_t key = 0;
    for (const auto& [id, place] : by_id) {
        const auto& guard = (*seen)[key++];
        if (guard.before) continue;
        if (first_stored_at(*batch[place]) < guard.horizon) return std::nullopt;
        ours.insert(place);
    }
    for (const auto place : ours) {
        const auto result = shell.effect(place);
        if (!is_done(result.handled)) return std::nullopt;
        const GuardKey kept{group, batch[place]->message.id};
        if (!result.result.empty() && !shell.rows.keep_result(kept, result.result)) return std::nullopt;
    }
    open.open = false;
    if (!shell.transaction.commit()) return std::nullopt;  // it may have been committed: the guard rows tell, one by one
    return ours;
}

}  // namespace

Results run_once_batch(const std::string& group, std::span<const Delivery* const> batch, const BatchShell& shell) {
    std::optional<std::set<std::size_t>> ran;
    if (batch.size() > 1) {
        try {
            ran = together(group, batch, shell);
        } catch (...) {
            ran.reset();  // which of them, and whether it fails again, is found out one by one
        }
    }
    Results results;
    std::set<std::pair<std::string, std::string>> failed_keys;
    for (std::size_t place = 0; place < batch.size(); ++place) {
        const auto& message = batch[place]->message;
        const std::pair key{message.topic, message.ordering_key};
        if (ran && ran->contains(place)) {
            results.emplace_back(Handled::done);
        } else if (failed_keys.contains(key)) {
            results.emplace_back(Handled::retry, "behind a failure of its key");
        } else {
            results.push_back(alone(shell, *batch[place]));
            if (!is_done(results.back().handled) && !message.ordering_key.empty()) failed_keys.insert(key);
        }
    }
    return results;
}

}  // namespace hufu::idempotency
