// Remembers, in little memory, which ids were seen lately.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hufu::broker {

/// Two Bloom filters that take turns: of the last `each` to `2 * each` ids every one is known; about one in two hundred others is
/// taken for known. Two bytes an id, from the first one on. Ids are hashes, spread evenly. Not thread-safe.
class RecentIds {
public:
    static constexpr std::size_t each = 1U << 20U;

    void add(std::uint64_t id) {
        if (young_.empty()) young_.resize(words);
        if (count_ == each) {
            old_ = std::move(young_);
            young_.assign(words, 0);
            count_ = 0;
        }
        ++count_;
        for (std::size_t i = 0; i < probes; ++i) young_[bit(id, i) / 64] |= 1ULL << (bit(id, i) % 64);
    }
    [[nodiscard]] bool may_contain(std::uint64_t id) const { return is_in(young_, id) || is_in(old_, id); }

private:
    static constexpr std::size_t bits = 16 * each;
    static constexpr std::size_t words = bits / 64;
    static constexpr std::size_t probes = 4;

    static std::size_t bit(std::uint64_t id, std::size_t probe) noexcept {
        const std::uint64_t step = (id * 0x9E3779B97F4A7C15ULL) | 1U;
        return static_cast<std::size_t>((id + probe * step) >> 20U) % bits;
    }
    static bool is_in(const std::vector<std::uint64_t>& filter, std::uint64_t id) {
        if (filter.empty()) return false;
        for (std::size_t i = 0; i < probes; ++i)
            if ((filter[bit(id, i) / 64] & (1ULL << (bit(id, i) % 64))) == 0) return false;
        return true;
    }

    std::vector<std::uint64_t> young_;
    std::vector<std::uint64_t> old_;
    std::size_t count_ = 0;
};

}  // namespace hufu::broker
