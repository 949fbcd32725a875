#include "key_table.hpp"

#include <hufu/core/assert.hpp>

#include <functional>

namespace hufu::outbox {
namespace {

std::size_t hash_of(std::string_view topic, std::string_view ordering_key) noexcept {
    const std::hash<std::string_view> hash;
    return hash(ordering_key) * 0x9E3779B97F4A7C15ULL + hash(topic);
}

}  // namespace

std::uint32_t KeyTable::find(std::string_view topic, std::string_view ordering_key) const noexcept {
    const std::size_t hash = hash_of(topic, ordering_key);
    const std::size_t mask = buckets_.size() - 1;
    for (std::size_t bucket = hash & mask; buckets_[bucket] != no_key; bucket = (bucket + 1) & mask) {
        const KeySlot& slot = slots_[buckets_[bucket]];
        if (slot.hash == hash && slot.key.ordering_key == ordering_key && slot.key.topic == topic) return buckets_[bucket];
    }
    return no_key;
}

std::uint32_t KeyTable::find_or_add(std::string_view topic, std::string_view ordering_key) {
    if (const std::uint32_t found = find(topic, ordering_key); found != no_key) return found;
    if ((indexed_ + 1) * 2 > buckets_.size()) grow();
    const std::uint32_t added = take_slot();
    KeySlot& slot = slots_[added];
    slot.key.topic.assign(topic);
    slot.key.ordering_key.assign(ordering_key);
    slot.hash = hash_of(topic, ordering_key);
    const std::size_t mask = buckets_.size() - 1;
    std::size_t bucket = slot.hash & mask;
    while (buckets_[bucket] != no_key) bucket = (bucket + 1) & mask;
    buckets_[bucket] = added;
    ++indexed_;
    return added;
}

std::uint32_t KeyTable::add_loose(std::string_view topic) {
    const std::uint32_t added = take_slot();
    slots_[added].key.topic.assign(topic);
    slots_[added].key.ordering_key.clear();
    slots_[added].loose = true;
    return added;
}

std::uint32_t KeyTable::take_slot() {
    if (free_.empty()) {
        HUFU_ASSERT(slots_.size() < no_key);
        slots_.emplace_back();
        return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
}

void KeyTable::remove(std::uint32_t slot) {
    KeySlot& removed = slots_[slot];
    if (!removed.loose) {
        const std::size_t mask = buckets_.size() - 1;
        std::size_t hole = bucket_of(slot);
        while (buckets_[hole] != slot) hole = (hole + 1) & mask;
        for (std::size_t next = (hole + 1) & mask; buckets_[next] != no_key; next = (next + 1) & mask) {
            // An entry may fill the hole unless its own bucket lies between the hole and itself.
            const std::size_t home = bucket_of(buckets_[next]);
            if (((next - home) & mask) >= ((next - hole) & mask)) {
                buckets_[hole] = buckets_[next];
                hole = next;
            }
        }
        buckets_[hole] = no_key;
        --indexed_;
    }
    removed.in_flight = 0;
    removed.lot_rows = 0;
    removed.listed = 0;
    removed.loose = false;
    removed.drain_queued = false;
    removed.behind.clear();
    removed.trouble.reset();
    free_.push_back(slot);
}

void KeyTable::grow() {
    std::vector<std::uint32_t> old = std::move(buckets_);
    buckets_.assign(old.size() * 2, no_key);
    const std::size_t mask = buckets_.size() - 1;
    for (const std::uint32_t slot : old) {
        if (slot == no_key) continue;
        std::size_t bucket = bucket_of(slot);
        while (buckets_[bucket] != no_key) bucket = (bucket + 1) & mask;
        buckets_[bucket] = slot;
    }
}

}  // namespace hufu::outbox
