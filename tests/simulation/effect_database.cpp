#include "effect_database.hpp"

#include <algorithm>

namespace hufu::simulation {

EffectDatabase::TransactionId EffectDatabase::begin() {
    open_[++last_];
    return last_;
}

std::optional<idempotency::GuardSeen> EffectDatabase::insert(TransactionId transaction, const idempotency::GuardKey& key) {
    const auto found = find(key);
    if (found.before) return found;
    for (const auto& [other, open] : open_) {
        if (other != transaction && open.guard == key.id) return std::nullopt;
    }
    open_.at(transaction).guard = key.id;
    return found;
}

idempotency::GuardSeen EffectDatabase::find(const idempotency::GuardKey& key) const {
    const auto kept = guards_.find(key.id);
    if (kept == guards_.end()) return {false, {}, horizon_};
    return {true, kept->second.result, horizon_};
}

void EffectDatabase::keep_result(TransactionId transaction, std::string result) {
    open_.at(transaction).result = std::move(result);
}

void EffectDatabase::add_effect(TransactionId transaction, Effect effect) {
    open_.at(transaction).effects.push_back(std::move(effect));
}

bool EffectDatabase::commit(TransactionId transaction, SystemTime now) {
    const auto found = open_.find(transaction);
    if (found == open_.end()) return false;
    if (found->second.guard) guards_.emplace(*found->second.guard, Kept{found->second.result, now});
    for (Effect& effect : found->second.effects) effects_.push_back(std::move(effect));
    open_.erase(found);
    return true;
}

void EffectDatabase::purge(SystemTime cut) {
    horizon_ = std::max(horizon_, cut);
    std::erase_if(guards_, [cut](const auto& one) { return one.second.seen_at < cut; });
}

void EffectDatabase::roll_back(TransactionId transaction) { open_.erase(transaction); }
void EffectDatabase::restart() { open_.clear(); }

}  // namespace hufu::simulation
