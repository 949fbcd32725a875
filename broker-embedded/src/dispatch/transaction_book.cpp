#include "transaction_book.hpp"

#include <algorithm>

#include <hufu/core/assert.hpp>

namespace hufu::broker {
namespace {

constexpr std::uint32_t ticks_max = static_cast<std::uint32_t>(std::chrono::days{365} / TransactionBook::tick);

}  // namespace

void TransactionBook::add(const Half& half) {
    HUFU_ASSERT(half.home <= Half::home_max && half.place.offset <= Half::home_max);
    HUFU_ASSERT(half.home >= homes_end_ || slot_of(half.home) == no_place);
    homes_end_ = std::max(homes_end_, half.home + 1);
    const std::uint32_t slot = take_slot();
    fill(at(slot), half);
    by_home_.insert(slot);
    by_hash_.insert(slot);
    ++size_;
    ++counts_[static_cast<std::size_t>(half.state)];
    if (half.state == HalfState::pending) push(slot);
}

void TransactionBook::add_all(std::span<const Half> halves) {
    constexpr std::size_t ahead = 8;
    for (std::size_t i = 0; i < halves.size() + ahead; ++i) {
        if (i < halves.size()) {
            by_home_.prefetch(halves[i].home);
            by_hash_.prefetch(halves[i].hash);
        }
        if (i >= ahead) add(halves[i - ahead]);
    }
}

void TransactionBook::reserve(std::size_t halves) {
    by_home_.reserve(halves);
    by_hash_.reserve(halves);
    heap_.reserve(halves);
}

void TransactionBook::erase(std::uint64_t home) {
    const std::uint32_t slot = slot_of(home);
    if (slot == no_place) return;
    Slot& entry = at(slot);
    if (entry.heap_at != no_place) remove(slot);
    by_home_.erase(slot);
    by_hash_.erase(slot);
    --size_;
    --counts_[entry.state];
    entry.used = 0;
    entry.heap_at = free_;
    free_ = slot;
    if (size_ > 0) return;
    // A burst's memory goes back once it is over.
    chunks_.clear();
    slots_ = 0;
    free_ = no_place;
    heap_ = {};
}

void TransactionBook::update(const Half& half) {
    const std::uint32_t slot = slot_of(half.home);
    HUFU_ASSERT(slot != no_place && at(slot).hash == half.hash);
    if (at(slot).heap_at != no_place) remove(slot);
    --counts_[at(slot).state];
    fill(at(slot), half);
    ++counts_[static_cast<std::size_t>(half.state)];
    if (half.state == HalfState::pending) push(slot);
}

std::optional<Half> TransactionBook::find(std::uint64_t home) const {
    const std::uint32_t slot = slot_of(home);
    if (slot == no_place) return std::nullopt;
    return half_of(at(slot));
}

TransactionBook::Homes TransactionBook::with_hash(std::uint32_t hash, std::size_t count_max) const {
    Homes homes;
    by_hash_.for_each(hash, [&](std::uint32_t slot) {
        if (homes.size() == count_max) return false;
        homes.push_back(at(slot).home);
        return true;
    });
    std::sort(homes.begin(), homes.end());
    return homes;
}

std::optional<Half> TransactionBook::next() const {
    if (heap_.empty()) return std::nullopt;
    return half_of(at(heap_.front()));
}

std::size_t TransactionBook::wake(std::uint16_t group, SteadyTime now) {
    Half moment;
    moment.due = now;
    Slot due{};
    fill(due, moment);
    std::size_t woken = 0;
    for (const std::uint32_t slot : heap_) {
        Slot& entry = at(slot);
        if (!entry.unreachable || (group != 0 && entry.group != 0 && entry.group != group)) continue;
        entry.unreachable = 0;
        entry.step = 0;
        entry.due = std::min(entry.due, due.due);
        ++woken;
    }
    if (woken == 0) return 0;
    for (std::size_t position = heap_.size() / 2; position-- > 0;) sift_down(position);
    return woken;
}

std::size_t TransactionBook::memory_bytes() const noexcept {
    return chunks_.size() * (chunk_slots * sizeof(Slot)) + chunks_.capacity() * sizeof(chunks_[0]) +
           heap_.capacity() * sizeof(heap_[0]) + by_home_.memory_bytes() + by_hash_.memory_bytes();
}

Half TransactionBook::half_of(const Slot& slot) const {
    Half half;
    half.home = slot.home;
    half.place = {slot.place, slot.moved != 0};
    half.hash = slot.hash;
    half.group = slot.group;
    half.checks = slot.checks;
    half.step = slot.step;
    half.state = static_cast<HalfState>(slot.state);
    half.asked = slot.asked != 0;
    half.unreachable = slot.unreachable != 0;
    half.overdue = slot.overdue != 0;
    half.due = start_ + tick * slot.due;
    return half;
}

void TransactionBook::fill(Slot& slot, const Half& half) {
    slot.home = half.home & Half::home_max;
    slot.hash = half.hash & Half::hash_mask;
    slot.place = half.place.offset & Half::home_max;
    slot.moved = half.place.moved ? 1U : 0U;
    slot.group = half.group;
    slot.checks = half.checks;
    slot.step = half.step;
    slot.state = static_cast<std::uint64_t>(half.state) & 3U;
    slot.used = 1;
    slot.asked = half.asked ? 1U : 0U;
    slot.unreachable = half.unreachable ? 1U : 0U;
    slot.overdue = half.overdue ? 1U : 0U;
    slot.heap_at = no_place;
    slot.due = 0;
    if (half.due > start_) {
        const auto wait = std::min<SteadyTime::duration>(half.due - start_, tick * ticks_max);
        slot.due = static_cast<std::uint32_t>((wait + tick - SteadyTime::duration{1}) / tick);
    }
}

std::uint32_t TransactionBook::slot_of(std::uint64_t home) const {
    std::uint32_t found = no_place;
    by_home_.for_each(home, [&](std::uint32_t slot) {
        found = slot;
        return false;
    });
    return found;
}

std::uint32_t TransactionBook::take_slot() {
    if (free_ != no_place) {
        const std::uint32_t slot = free_;
        free_ = at(slot).heap_at;
        return slot;
    }
    if (slots_ == chunks_.size() * chunk_slots) chunks_.push_back(std::make_unique<Slot[]>(chunk_slots));
    return slots_++;
}

// The heap.

bool TransactionBook::before(std::uint32_t left, std::uint32_t right) const noexcept {
    const Slot& one = at(left);
    const Slot& other = at(right);
    return one.due != other.due ? one.due < other.due : one.home < other.home;
}

void TransactionBook::push(std::uint32_t slot) {
    if (heap_.size() == heap_.capacity()) heap_.reserve(heap_.size() + heap_.size() / 4 + 64);
    heap_.push_back(slot);
    at(slot).heap_at = static_cast<std::uint32_t>(heap_.size() - 1);
    sift_up(heap_.size() - 1);
}

void TransactionBook::remove(std::uint32_t slot) {
    const std::size_t position = at(slot).heap_at;
    at(slot).heap_at = no_place;
    const std::uint32_t last = heap_.back();
    heap_.pop_back();
    if (last == slot) return;
    set_heap(position, last);
    sift_up(position);
    sift_down(at(last).heap_at);
}

void TransactionBook::sift_up(std::size_t position) {
    const std::uint32_t slot = heap_[position];
    while (position > 0 && before(slot, heap_[(position - 1) / 2])) {
        set_heap(position, heap_[(position - 1) / 2]);
        position = (position - 1) / 2;
    }
    set_heap(position, slot);
}

void TransactionBook::sift_down(std::size_t position) {
    const std::uint32_t slot = heap_[position];
    for (;;) {
        std::size_t child = 2 * position + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
        if (!before(heap_[child], slot)) break;
        set_heap(position, heap_[child]);
        position = child;
    }
    set_heap(position, slot);
}

}  // namespace hufu::broker
