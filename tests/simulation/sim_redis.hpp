// A model of the Redis that guards and locks stand on: keys with a time to live, on a server that forgets.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <hufu/idempotency/lease.hpp>
#include <hufu/idempotency/lock.hpp>

#include "event_queue.hpp"

namespace hufu::simulation {

class SimRedis {
public:
    explicit SimRedis(EventQueue& events) : events_{events} {}

    // What the guard's commands and scripts do, each in one step.
    idempotency::LeaseSeen acquire(const idempotency::LeaseRequest& request);
    idempotency::LeaseKept renew(const idempotency::LeaseRequest& request);
    idempotency::LeaseKept complete(const idempotency::LeaseRequest& request, const idempotency::LeaseResult& result);
    void release(const idempotency::LeaseRequest& request);

    /// The lock's token, or nothing while another holds it.
    std::optional<idempotency::FencingToken> lock(const std::string& secret, EventQueue::Duration lease);
    bool renew_lock(const std::string& secret, EventQueue::Duration lease);
    void unlock(const std::string& secret);

    /// Does not answer for a while.
    void go_away(EventQueue::Duration how_long) { away_until_ = std::max(away_until_, events_.now() + how_long); }
    [[nodiscard]] bool away() const { return events_.now() < away_until_; }
    /// A restart without its append-only file, a flush.
    void forget_everything();
    /// A replica takes over that has not heard of the last writes.
    void forget_since(SteadyTime when);

    /// For the judge: how often this key's lease or result was forgotten, and who has it.
    [[nodiscard]] std::uint64_t forgotten(const idempotency::LeaseKey& key) const;
    [[nodiscard]] bool holds(const idempotency::LeaseRequest& request);

private:
    struct Entry {
        idempotency::LeaseToken token;
        bool done = false;
        std::string fingerprint;
        std::string result;
        SteadyTime until;
        SteadyTime written;
    };
    struct LockEntry {
        std::string secret;
        SteadyTime until;
    };

    Entry* find(const idempotency::LeaseKey& key);
    idempotency::LeaseKept take(const idempotency::LeaseRequest& request);

    EventQueue& events_;
    std::map<idempotency::LeaseKey, Entry> entries_;
    std::map<idempotency::LeaseKey, std::uint64_t> forgotten_;
    std::optional<LockEntry> lock_;
    std::int64_t last_token_ = 0;
    SteadyTime away_until_{};
};

}  // namespace hufu::simulation
