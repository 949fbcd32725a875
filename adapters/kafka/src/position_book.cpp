#include "position_book.hpp"

#include <algorithm>

#include <hufu/core/mutant.hpp>

namespace hufu::kafka {

PositionBook::Partition* PositionBook::find(const std::string& topic, std::int32_t partition) {
    const auto found = partitions_.find({topic, partition});
    return found == partitions_.end() ? nullptr : &found->second;
}

void PositionBook::assigned(const std::string& topic, std::int32_t partition) {
    const auto [entry, is_new] = partitions_.try_emplace({topic, partition});
    if (is_new) {
        entry->second.number = by_number_.size();
        by_number_.push_back(entry);
    }
    const std::uint64_t number = entry->second.number;
    entry->second = Partition{.number = number, .session = ++last_session_, .assigned = true};
}

void PositionBook::begins_at(const std::string& topic, std::int32_t partition, std::int64_t offset) {
    if (Partition* known = find(topic, partition)) {
        known->next = offset;
    }
}

std::vector<DeliveryTag> PositionBook::revoked(const std::string& topic, std::int32_t partition) {
    Partition* known = find(topic, partition);
    if (known == nullptr || !known->assigned) {
        return {};
    }
    known->assigned = false;
    known->cached.clear();
    known->bytes = 0;
    known->full = false;
    return {DeliveryTag{.queue = known->number, .session = known->session}};
}

std::vector<DeliveryTag> PositionBook::received(const std::string& topic, std::int32_t partition, std::int64_t offset,
                                                std::size_t bytes) {
    Partition* known = find(topic, partition);
    // After a pause librdkafka may hand out once more what was handed out before.
    if (known == nullptr || !known->assigned || offset < known->next) {
        return {};
    }
    known->next = offset + 1;
    known->cached.push_back({.offset = offset, .bytes = bytes});
    known->bytes += bytes;
    return {DeliveryTag{.queue = known->number, .position = static_cast<std::uint64_t>(offset), .session = known->session}};
}

void PositionBook::acknowledge(std::span<const DeliveryTag> tags) {
    for (const DeliveryTag& tag : tags) {
        if (tag.queue >= by_number_.size()) {
            continue;
        }
        Partition& partition = by_number_[tag.queue]->second;
        if (!partition.assigned || partition.session != tag.session) {
            continue;
        }
        auto& cached = partition.cached;
        const auto offset = static_cast<std::int64_t>(tag.position);
        const auto found = std::lower_bound(cached.begin(), cached.end(), offset,
                                            [](const Cached& entry, std::int64_t wanted) { return entry.offset < wanted; });
        if (found == cached.end() || found->offset != offset) {
            continue;
        }
        found->acknowledged = true;
        if (mutant_active("kafka_commits_highest_acknowledged")) {
            for (auto entry = cached.begin(); entry != found; ++entry) {
                entry->acknowledged = true;
            }
        }
        while (!cached.empty() && cached.front().acknowledged) {
            partition.bytes -= cached.front().bytes;
            cached.pop_front();
        }
    }
}

void PositionBook::take_due(const Key& key, Partition& partition, std::vector<Place>& due) {
    const std::int64_t position = partition.position();
    if (partition.assigned && position > partition.committed) {
        partition.committed = position;
        due.push_back({key.first, key.second, position});
    }
}

std::vector<Place> PositionBook::take_due() {
    std::vector<Place> due;
    for (auto& [key, partition] : partitions_) {
        take_due(key, partition, due);
    }
    return due;
}

std::vector<Place> PositionBook::take_due(const std::string& topic, std::int32_t partition) {
    std::vector<Place> due;
    if (const auto found = partitions_.find({topic, partition}); found != partitions_.end()) {
        take_due(found->first, found->second, due);
    }
    return due;
}

void PositionBook::not_committed(const std::string& topic, std::int32_t partition) {
    if (Partition* known = find(topic, partition)) {
        known->committed = -1;
    }
}

std::vector<Place> PositionBook::take_full() {
    std::vector<Place> full;
    for (auto& [key, partition] : partitions_) {
        if (partition.assigned && !partition.full &&
            (partition.cached.size() >= messages_max_ || partition.bytes >= bytes_max_)) {
            partition.full = true;
            full.push_back({key.first, key.second, 0});
        }
    }
    return full;
}

std::vector<Place> PositionBook::take_relaxed() {
    std::vector<Place> relaxed;
    for (auto& [key, partition] : partitions_) {
        if (partition.full && partition.cached.size() <= messages_max_ / 2 && partition.bytes <= bytes_max_ / 2) {
            partition.full = false;
            relaxed.push_back({key.first, key.second, 0});
        }
    }
    return relaxed;
}

}  // namespace hufu::kafka
