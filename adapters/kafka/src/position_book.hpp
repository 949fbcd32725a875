// What of each partition was received, acknowledged and committed. No thread, no librdkafka.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/subscription.hpp>

namespace hufu::kafka {

/// A partition, and an offset in it where one is meant.
struct Place {
    std::string topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
};

/// Bookkeeping of one group member. Offsets of a partition ascend, not without holes: transactions and compaction leave some.
class PositionBook {
public:
    PositionBook(std::size_t cached_messages_max, std::size_t cached_bytes_max)
        : messages_max_{cached_messages_max}, bytes_max_{cached_bytes_max} {}

    /// A new session of the partition begins.
    void assigned(const std::string& topic, std::int32_t partition);
    /// The group has no position there: it begins at `offset`, and is to be committed so.
    void begins_at(const std::string& topic, std::int32_t partition, std::int64_t offset);
    /// The session ends. Its number and session, for what waits to be received; nothing when it was not ours.
    std::vector<DeliveryTag> revoked(const std::string& topic, std::int32_t partition);

    /// A record came; nothing when it is of no session (a straggler).
    [[nodiscard]] std::vector<DeliveryTag> received(const std::string& topic, std::int32_t partition, std::int64_t offset,
                                                    std::size_t bytes);
    void acknowledge(std::span<const DeliveryTag> tags);

    /// Positions that moved and are not committed; of one partition alone, or of all. From now on taken as committed.
    [[nodiscard]] std::vector<Place> take_due();
    [[nodiscard]] std::vector<Place> take_due(const std::string& topic, std::int32_t partition);
    /// The commit did not succeed: it is due again.
    void not_committed(const std::string& topic, std::int32_t partition);

    /// Partitions that hold too much now, and those of them that hold little again; each once.
    [[nodiscard]] std::vector<Place> take_full();
    [[nodiscard]] std::vector<Place> take_relaxed();

private:
    struct Cached {
        std::int64_t offset = 0;
        std::size_t bytes = 0;
        bool acknowledged = false;
    };
    struct Partition {
        std::uint64_t number = 0;
        std::uint64_t session = 0;
        bool assigned = false;
        std::int64_t next = -1;          // after the last received; below 0: nothing came in this session
        std::int64_t committed = -1;     // what the broker was told in this session
        std::deque<Cached> cached = {};  // received, oldest first; acknowledged ones leave at the front
        std::size_t bytes = 0;
        bool full = false;
        [[nodiscard]] std::int64_t position() const noexcept { return cached.empty() ? next : cached.front().offset; }
    };
    using Key = std::pair<std::string, std::int32_t>;

    [[nodiscard]] Partition* find(const std::string& topic, std::int32_t partition);
    static void take_due(const Key& key, Partition& partition, std::vector<Place>& due);

    const std::size_t messages_max_;
    const std::size_t bytes_max_;
    std::map<Key, Partition> partitions_;
    std::vector<std::map<Key, Partition>::iterator> by_number_;
    std::uint64_t last_session_ = 0;
};

}  // namespace hufu::kafka
