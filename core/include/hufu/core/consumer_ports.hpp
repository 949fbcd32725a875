// What a consumer group remembers beyond the life of a process: parked keys and handlers that were started.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/consumer_options.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/ids.hpp>

namespace hufu {

/// A key of which a message became a dead letter: what follows it is dead-lettered too, until a person reopens it.
struct ParkedKey {
    ConsumerKey key;
    MessageId first = {};     ///< the message that failed
    std::string reason = {};  ///< why it did
    friend bool operator==(const ParkedKey&, const ParkedKey&) = default;
};

/// The parked keys of one group, where the guards are (or wherever all members look). Thread-safe.
class ParkedKeys {
public:
    virtual ~ParkedKeys() = default;
    /// All of the group. Read before the first delivery of a queue that came with a rebalance, and now and then.
    virtual Result<std::vector<ParkedKey>> load() = 0;
    /// Durable when it returns, and only then the first dead letter of the key is published. A key that is parked already
    /// stays as it is.
    virtual Result<void> park(const ParkedKey& key) = 0;
    /// False: it was not parked. Every member of the group learns of it within `ConsumerOptions::parked_keys_every`.
    virtual Result<bool> reopen(const ConsumerKey& key) = 0;
};

/// Rows that say that a handler was started and has not answered, of one group. Thread-safe.
///
/// Only for messages that may be here for the second time (the first ones of a queue after a start or a rebalance), so that
/// steady work costs nothing.
class AttemptRows {
public:
    virtual ~AttemptRows() = default;
    /// For each message: how often its handler was started before without an answer; 0: never, and there is a row now.
    /// One transaction.
    virtual Result<std::vector<std::uint32_t>> look(std::span<const MessageId> ids) = 0;
    /// Durable when it returns: the handler of a message that has a row starts once more.
    virtual Result<void> starts_again(const MessageId& id) = 0;
    /// The handlers answered, or did not start: the rows go.
    virtual Result<void> over(std::span<const MessageId> ids) = 0;
};

}  // namespace hufu
