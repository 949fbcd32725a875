// Remembers, in little memory, which ids were seen lately.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hufu::broker {

/// Two Bloom filters that take turns: of the last `each` to `2 * each` ids every one is known; about one in five hundred others is
/// taken for known. Two bytes an id, from the first one on. An id sets one bit in each word of one block, so that it costs one
/// line of the cache (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters"). Ids are hashes, spread evenly.
/// Not thread-safe.
class RecentIds {
public:
    static constexpr std::size_t each = 1U << 20U;

    void add(std::uint64_t id) {
        if (young_.empty()) young_.resize(blocks);
        if (count_ == each) {
            old_ = std::move(young_);
            young_.assign(blocks, Block{});
            count_ = 0;
        }
        ++count_;
        Block& block = young_[block_of(id)];
        for (std::size_t word = 0; word < block_words; ++word) block.words[word] |= bit_of(id, word);
    }
    [[nodiscard]] bool may_contain(std::uint64_t id) const { return is_in(young_, id) || is_in(old_, id); }

private:
    static constexpr std::size_t block_words = 8;
    static constexpr std::size_t blocks = 16 * each / (64 * block_words);
    struct alignas(64) Block {
        std::uint64_t words[block_words] = {};
    };

    static std::size_t block_of(std::uint64_t id) noexcept { return static_cast<std::size_t>(id >> 40U) % blocks; }
    static std::uint64_t bit_of(std::uint64_t id, std::size_t word) noexcept {
        const std::uint64_t spread = id * 0x9E3779B97F4A7C15ULL;
        return 1ULL << ((spread >> (16U + 6U * word)) & 63U);
    }
    static bool is_in(const std::vector<Block>& filter, std::uint64_t id) {
        if (filter.empty()) return false;
        const Block& block = filter[block_of(id)];
        for (std::size_t word = 0; word < block_words; ++word)
            if ((block.words[word] & bit_of(id, word)) == 0) return false;
        return true;
    }

    std::vector<Block> young_;
    std::vector<Block> old_;
    std::size_t count_ = 0;
};

}  // namespace hufu::broker
