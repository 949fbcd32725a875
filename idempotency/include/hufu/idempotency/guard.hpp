// The guard's port: one row per consumer group and message, written in the same transaction as the effect.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/ids.hpp>

namespace hufu::idempotency {

/// What a guard row is about: this group has taken this message into effect.
struct GuardKey {
    std::string group;
    MessageId id;
    friend bool operator==(const GuardKey&, const GuardKey&) = default;
};

/// What the store says of a key.
struct GuardSeen {
    bool before = false;      ///< a committed row was there already; otherwise (`insert`) the row is now ours
    std::string result = {};  ///< the bytes kept with that earlier row
    SystemTime horizon = {};  ///< rows for messages stored earlier than this may have been purged; epoch: nothing was
};

/// What cleaning up did.
struct Purged {
    std::uint64_t rows = 0;
    SystemTime horizon = {};  ///< messages of the group that were stored earlier and have no row are rejected from now on
};

/// How far the clocks of brokers, databases and hosts may be apart without harm to the horizon.
inline constexpr std::chrono::minutes clock_allowance{5};

/// Guard rows as one open transaction sees them. Belongs to that transaction and its thread.
///
/// An error leaves the transaction to be rolled back.
class GuardRows {
public:
    virtual ~GuardRows() = default;
    /// Inserts the row of `key`. Where another transaction is inserting the same key, waits for its end (a unique key
    /// does that), so that of two duplicates exactly one is first.
    virtual Result<GuardSeen> insert(const GuardKey& key) = 0;
    /// `insert` of several, which are in ascending order of their ids: whoever inserts several in the same order waits for
    /// others, and never in a circle.
    virtual Result<std::vector<GuardSeen>> insert_all(std::span<const GuardKey> keys) {
        std::vector<GuardSeen> seen;
        for (const auto& key : keys) {
            auto one = insert(key);
            if (!one) return one.error();
            seen.push_back(std::move(*one));
        }
        return seen;
    }
    /// Looks without inserting: what a repeated request may be answered with.
    virtual Result<GuardSeen> find(const GuardKey& key) = 0;
    /// Keeps `result` with the row inserted before in this transaction, for duplicates to be answered with.
    virtual Result<void> keep_result(const GuardKey& key, std::string_view result) = 0;
};

/// The transaction that guard row, effect and outgoing outbox rows share.
class EffectTransaction {
public:
    virtual ~EffectTransaction() = default;
    virtual Result<void> begin() = 0;
    /// An `in_doubt` error means that it may have been committed; the guard row tells, at the next delivery.
    virtual Result<void> commit() = 0;
    virtual void roll_back() noexcept = 0;
};

}  // namespace hufu::idempotency
