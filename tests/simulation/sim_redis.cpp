#include "sim_redis.hpp"

#include <algorithm>

#include <hufu/core/mutant.hpp>

namespace hufu::simulation {

using idempotency::LeaseKept;
using idempotency::LeaseRequest;
using idempotency::LeaseSeen;

SimRedis::Entry* SimRedis::find(const idempotency::LeaseKey& key) {
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) return nullptr;
    if (events_.now() < entry->second.until) return &entry->second;
    entries_.erase(entry);
    return nullptr;
}

LeaseSeen SimRedis::acquire(const LeaseRequest& request) {
    const Entry* const entry = find(request.key);
    if (entry == nullptr) {
        entries_[request.key] = {request.token, false, request.fingerprint, {}, events_.now() + request.lease,
                                 events_.now()};
        return {};
    }
    if (entry->done) return {LeaseSeen::State::done, entry->fingerprint, entry->result, false};
    if (entry->token != request.token) return {LeaseSeen::State::in_progress, entry->fingerprint, {}, false};
    return {};
}

LeaseKept SimRedis::take(const LeaseRequest& request) {
    const Entry* const entry = find(request.key);
    if (entry != nullptr) return entry->token == request.token ? LeaseKept::kept : LeaseKept::lost;
    return LeaseKept::retaken;
}

LeaseKept SimRedis::renew(const LeaseRequest& request) {
    const LeaseKept kept = take(request);
    if (kept == LeaseKept::lost) return kept;
    Entry& entry = entries_[request.key];
    if (!entry.done) entry = {request.token, false, request.fingerprint, {}, events_.now() + request.lease, events_.now()};
    return kept;
}

LeaseKept SimRedis::complete(const LeaseRequest& request, const idempotency::LeaseResult& result) {
    // Seeded bug, as in the script of redis::Leases: whoever is late overwrites what another holds or has recorded.
    const LeaseKept kept = mutant_active("completion_without_token_compare") ? LeaseKept::kept : take(request);
    if (kept == LeaseKept::lost) return kept;
    entries_[request.key] = {
        request.token, true, request.fingerprint, std::string{result.bytes}, events_.now() + result.keep_for, events_.now()};
    return kept;
}

void SimRedis::release(const LeaseRequest& request) {
    const Entry* const entry = find(request.key);
    if (entry != nullptr && !entry->done && entry->token == request.token) entries_.erase(request.key);
}

std::optional<idempotency::FencingToken> SimRedis::lock(const std::string& secret, EventQueue::Duration lease) {
    if (lock_ && events_.now() < lock_->until && lock_->secret != secret) return std::nullopt;
    lock_ = LockEntry{secret, events_.now() + lease};
    const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(events_.now().time_since_epoch()).count();
    last_token_ = std::max<std::int64_t>(last_token_ + 1, now_us);
    return idempotency::FencingToken{last_token_};
}

bool SimRedis::renew_lock(const std::string& secret, EventQueue::Duration lease) {
    if (!lock_ || events_.now() >= lock_->until || lock_->secret != secret) return false;
    lock_->until = events_.now() + lease;
    return true;
}

void SimRedis::unlock(const std::string& secret) {
    if (lock_ && lock_->secret == secret) lock_.reset();
}

void SimRedis::forget_everything() {
    for (const auto& [key, entry] : entries_) ++forgotten_[key];
    entries_.clear();
    lock_.reset();
    last_token_ = 0;
}

void SimRedis::forget_since(SteadyTime when) {
    std::erase_if(entries_, [&](const auto& one) {
        const bool gone = one.second.written >= when;
        if (gone) ++forgotten_[one.first];
        return gone;
    });
    lock_.reset();
}

std::uint64_t SimRedis::forgotten(const idempotency::LeaseKey& key) const {
    const auto found = forgotten_.find(key);
    return found == forgotten_.end() ? 0 : found->second;
}

bool SimRedis::holds(const LeaseRequest& request) {
    const Entry* const entry = find(request.key);
    return entry != nullptr && !entry->done && entry->token == request.token;
}

}  // namespace hufu::simulation
