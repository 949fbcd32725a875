// A store of leases in memory, on a clock of its own, that can be told to forget, to fail and to lose answers.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/idempotency/lease.hpp>
#include <hufu/idempotency/lease_machine.hpp>

namespace hufu::idempotency {

class MemoryLeases final : public LeaseStore {
public:
    explicit MemoryLeases(Clock& clock) : clock_{clock} {}

    Result<LeaseSeen> acquire(const LeaseRequest& request) override {
        const std::lock_guard lock{mutex_};
        if (auto error = failing()) return *error;
        Entry* const entry = find(request.key);
        LeaseSeen seen;
        if (entry == nullptr) {
            entries_[request.key] = {
                request.token, false, request.fingerprint, {}, false, clock_.steady_now() + request.lease};
        } else if (entry->done) {
            seen = {LeaseSeen::State::done, entry->fingerprint, entry->result, entry->dropped};
        } else if (entry->token != request.token) {
            seen = {LeaseSeen::State::in_progress, entry->fingerprint, {}, false};
        }
        if (auto error = losing_the_answer()) return *error;
        return seen;
    }

    void renew(std::span<const LeaseRequest* const> requests, std::span<Result<LeaseKept>> answers) override {
        const std::lock_guard lock{mutex_};
        for (std::size_t i = 0; i < requests.size(); ++i) {
            ++renewals;
            if (auto error = failing()) {
                answers[i] = *error;
                continue;
            }
            const LeaseRequest& request = *requests[i];
            answers[i] = take(request);
            if (*answers[i] != LeaseKept::lost) find(request.key)->until = clock_.steady_now() + request.lease;
        }
    }

    Result<LeaseKept> complete(const LeaseRequest& request, const LeaseResult& result) override {
        const std::lock_guard lock{mutex_};
        if (auto error = failing()) return *error;
        const LeaseKept kept = take(request);
        if (kept != LeaseKept::lost) {
            entries_[request.key] = {request.token,       true,
                                     request.fingerprint, std::string{result.bytes},
                                     result.dropped,      clock_.steady_now() + result.keep_for};
        }
        if (auto error = losing_the_answer()) return *error;
        return kept;
    }

    Result<void> release(const LeaseRequest& request) override {
        const std::lock_guard lock{mutex_};
        if (auto error = failing()) return *error;
        const Entry* const entry = find(request.key);
        if (entry != nullptr && !entry->done && entry->token == request.token) entries_.erase(request.key);
        return {};
    }

    void forget_everything() {
        const std::lock_guard lock{mutex_};
        entries_.clear();
    }
    [[nodiscard]] bool holds(const LeaseKey& key) {
        const std::lock_guard lock{mutex_};
        return find(key) != nullptr;
    }

    std::optional<Error> fails_with;  ///< what every call fails with; nothing happens
    int answers_to_lose = 0;          ///< so many calls take effect and are in doubt
    int renewals = 0;

private:
    struct Entry {
        LeaseToken token;
        bool done = false;
        std::string fingerprint;
        std::string result;
        bool dropped = false;
        SteadyTime until;
    };

    Entry* find(const LeaseKey& key) {
        const auto entry = entries_.find(key);
        if (entry == entries_.end()) return nullptr;
        if (clock_.steady_now() < entry->second.until) return &entry->second;
        entries_.erase(entry);
        return nullptr;
    }

    LeaseKept take(const LeaseRequest& request) {
        const Entry* const entry = find(request.key);
        if (entry == nullptr) {
            entries_[request.key] = {
                request.token, false, request.fingerprint, {}, false, clock_.steady_now() + request.lease};
            return LeaseKept::retaken;
        }
        return entry->token == request.token ? LeaseKept::kept : LeaseKept::lost;
    }

    [[nodiscard]] std::optional<Error> failing() const { return fails_with; }
    std::optional<Error> losing_the_answer() {
        if (answers_to_lose == 0) return std::nullopt;
        --answers_to_lose;
        return Error{ErrorCode::timeout, Disposition::in_doubt, "no answer"};
    }

    Clock& clock_;
    std::mutex mutex_;
    std::map<LeaseKey, Entry> entries_;  // guarded by mutex_
};

/// Does the machine's next step against the store; the effect adds to `effects`. False when it has finished.
inline bool step(LeaseMachine& machine, LeaseStore& store, Clock& clock, int& effects,
                 const EffectResult& result = {Handled::done, "kept"}) {
    switch (machine.next()) {
        case LeaseAction::acquire: {
            machine.asked(clock.steady_now());
            auto seen = store.acquire(machine.request());
            seen ? machine.seen(std::move(*seen)) : machine.failed(seen.error(), clock.steady_now());
            return true;
        }
        case LeaseAction::run_effect:
            if (result.handled == Handled::done) ++effects;
            machine.returned(result);
            return true;
        case LeaseAction::complete: {
            machine.asked(clock.steady_now());
            const auto kept = store.complete(machine.request(), machine.to_keep());
            kept ? machine.completed(*kept) : machine.failed(kept.error(), clock.steady_now());
            return true;
        }
        case LeaseAction::release:
            static_cast<void>(store.release(machine.request()));
            machine.released();
            return true;
        case LeaseAction::finished: return false;
    }
    return false;
}

}  // namespace hufu::idempotency
