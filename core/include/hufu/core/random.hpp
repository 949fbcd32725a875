// Chance as a port, so that a simulation run is one seed.
#pragma once

#include <cstdint>

namespace hufu {

/// Source of random numbers. Thread safety is stated by each implementation.
class Random {
public:
    virtual ~Random() = default;
    /// 64 uniform bits.
    [[nodiscard]] virtual std::uint64_t next() noexcept = 0;
    /// Uniform in [0, bound); `bound` must be positive.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept;
};

/// Unpredictable numbers from the operating system's generator. Safe from any thread.
[[nodiscard]] Random& system_random() noexcept;

/// A reproducible sequence (xoshiro256**, Blackman & Vigna 2018, seeded by splitmix64). Not thread-safe.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(std::uint64_t seed) noexcept;
    [[nodiscard]] std::uint64_t next() noexcept override;

private:
    std::uint64_t state_[4];
};

}  // namespace hufu
