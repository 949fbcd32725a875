#include <hufu/core/assert.hpp>
#include <hufu/core/random.hpp>

#include <bit>

namespace hufu {

std::uint64_t Random::below(std::uint64_t bound) noexcept {
    HUFU_ASSERT(bound > 0);
    // Rejection keeps the result uniform: numbers of the last, incomplete run of `bound` are drawn again.
    const std::uint64_t excess = (~std::uint64_t{0} % bound + 1) % bound;
    std::uint64_t number = next();
    while (excess != 0 && number > ~std::uint64_t{0} - excess) number = next();
    return number % bound;
}

SeededRandom::SeededRandom(std::uint64_t seed) noexcept : state_{} {
    for (auto& word : state_) {  // splitmix64
        seed += 0x9e3779b97f4a7c15ULL;
        std::uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
        word = mixed ^ (mixed >> 31);
    }
}

std::uint64_t SeededRandom::next() noexcept {  // xoshiro256**
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

}  // namespace hufu
