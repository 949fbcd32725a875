// A hash table of slot numbers: the keys stand in the slots, not here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <hufu/core/assert.hpp>

namespace hufu::broker {

/// Open addressing with linear probing, four bytes a cell. Grows by half, so that seven bytes a slot are the most; several slots
/// may have one key. `KeyOf` gives a slot's key; keys are spread here. Not thread-safe.
template <class KeyOf>
class SlotTable {
public:
    explicit SlotTable(KeyOf key_of) : key_of_{key_of} {}

    /// Makes room for so many slots at once.
    void reserve(std::size_t slots) {
        if (const std::size_t size = slots + slots / 5 + 16; size > cells_.size()) rehash(size);
    }
    void insert(std::uint32_t slot) {
        if (used_ + used_ / 6 + 1 >= cells_.size()) rehash(cells_.size() + cells_.size() / 2 + 16);
        put(slot);
        ++used_;
    }
    /// Fetches the place where a slot with this key will be put.
    void prefetch(std::uint64_t key) const noexcept {
        if (!cells_.empty()) __builtin_prefetch(&cells_[ideal(key)], 1);
    }
    void erase(std::uint32_t slot) {
        std::size_t at = ideal(key_of_(slot));
        while (cells_[at] != slot) {
            HUFU_ASSERT(cells_[at] != none);
            at = next(at);
        }
        cells_[at] = none;
        --used_;
        // Whoever stands behind the gap and was pushed over it moves into it.
        for (std::size_t look = next(at); cells_[look] != none; look = next(look)) {
            const std::size_t wanted = ideal(key_of_(cells_[look]));
            if (distance(wanted, look) < distance(at, look)) continue;
            cells_[at] = cells_[look];
            cells_[look] = none;
            at = look;
        }
        if (cells_.size() > 4096 && used_ < cells_.size() / 4) rehash(used_ + used_ / 2 + 16);
    }
    /// Calls `visit(slot)` for every slot with this key until it returns false.
    template <class Visit>
    void for_each(std::uint64_t key, Visit visit) const {
        if (cells_.empty()) return;
        for (std::size_t at = ideal(key); cells_[at] != none; at = next(at))
            if (key_of_(cells_[at]) == key && !visit(cells_[at])) return;
    }
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return cells_.capacity() * sizeof(std::uint32_t); }

private:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    [[nodiscard]] std::size_t ideal(std::uint64_t key) const noexcept {
        key = (key ^ (key >> 33U)) * 0xFF51AFD7ED558CCDULL;
        key ^= key >> 29U;
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::size_t>((Wide{key * 0x9E3779B97F4A7C15ULL} * cells_.size()) >> 64U);
    }
    [[nodiscard]] std::size_t next(std::size_t at) const noexcept { return at + 1 == cells_.size() ? 0 : at + 1; }
    [[nodiscard]] std::size_t distance(std::size_t from, std::size_t to) const noexcept {
        return to >= from ? to - from : to + cells_.size() - from;
    }
    void put(std::uint32_t slot) {
        std::size_t at = ideal(key_of_(slot));
        while (cells_[at] != none) at = next(at);
        cells_[at] = slot;
    }
    void rehash(std::size_t size) {
        std::vector<std::uint32_t> old(size, none);
        old.swap(cells_);
        for (const std::uint32_t slot : old)
            if (slot != none) put(slot);
    }

    KeyOf key_of_;
    std::vector<std::uint32_t> cells_;
    std::size_t used_ = 0;
};

}  // namespace hufu::broker
