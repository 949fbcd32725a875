#include "effect_database.hpp"

namespace hufu::simulation {

EffectDatabase::TransactionId EffectDatabase::begin() {
    open_[++last_];
    return last_;
}

std::optional<idempotency::GuardSeen> EffectDatabase::insert(TransactionId transaction, const idempotency::GuardKey& key) {
    if (const auto kept = guards_.find(key.id); kept != guards_.end()) return idempotency::GuardSeen{true, kept->second, {}};
    for (const auto& [other, open] : open_) {
        if (other != transaction && open.guard == key.id) return std::nullopt;
    }
    open_.at(transaction).guard = key.id;
    return idempotency::GuardSeen{};
}

idempotency::GuardSeen EffectDatabase::find(const idempotency::GuardKey& key) const {
    const auto kept = guards_.find(key.id);
    return kept == guards_.end() ? idempotency::GuardSeen{} : idempotency::GuardSeen{true, kept->second, {}};
}

void EffectDatabase::keep_result(TransactionId transaction, std::string result) {
    open_.at(transaction).result = std::move(result);
}

void EffectDatabase::add_effect(TransactionId transaction, Effect effect) {
    open_.at(transaction).effects.push_back(std::move(effect));
}

bool EffectDatabase::commit(TransactionId transaction) {
    const auto found = open_.find(transaction);
    if (found == open_.end()) return false;
    if (found->second.guard) guards_.emplace(*found->second.guard, found->second.result);
    for (Effect& effect : found->second.effects) effects_.push_back(std::move(effect));
    open_.erase(found);
    return true;
}

void EffectDatabase::roll_back(TransactionId transaction) { open_.erase(transaction); }
void EffectDatabase::restart() { open_.clear(); }

}  // namespace hufu::simulation
