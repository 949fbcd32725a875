// A set of sequence numbers that mostly lie close together.
#pragma once

#include <bit>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

/// Set of positive sequence numbers, 64 to a machine word.
class SeqSet {
public:
    /// False if it was there.
    bool insert(Sequence seq) {
        std::uint64_t& word = words_[seq >> 6];
        const std::uint64_t bit = std::uint64_t{1} << (seq & 63);
        if ((word & bit) != 0) return false;
        word |= bit;
        ++size_;
        return true;
    }
    bool erase(Sequence seq) {
        const auto found = words_.find(seq >> 6);
        const std::uint64_t bit = std::uint64_t{1} << (seq & 63);
        if (found == words_.end() || (found->second & bit) == 0) return false;
        found->second &= ~bit;
        if (found->second == 0) words_.erase(found);
        --size_;
        return true;
    }
    [[nodiscard]] bool contains(Sequence seq) const {
        const auto found = words_.find(seq >> 6);
        return found != words_.end() && (found->second & (std::uint64_t{1} << (seq & 63))) != 0;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void clear() noexcept {
        words_.clear();
        size_ = 0;
    }
    /// Those up to `upto`, ascending.
    [[nodiscard]] std::vector<Sequence> sorted(Sequence upto) const;

private:
    std::unordered_map<Sequence, std::uint64_t> words_;
    std::size_t size_ = 0;
};

}  // namespace hufu::outbox
