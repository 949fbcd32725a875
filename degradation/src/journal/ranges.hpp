// Sets of numbers that mostly stand in a row.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace hufu::degradation::journal {

/// A set of numbers kept as ranges; memory grows with the gaps, not with the numbers. A plain value.
class Ranges {
public:
    /// Adds one. True: it was not there.
    bool add(std::uint64_t value);
    void add(std::uint64_t first, std::uint64_t last);
    /// True: it was there.
    bool remove(std::uint64_t value);
    [[nodiscard]] bool contains(std::uint64_t value) const;
    /// The smallest one that is `value` or larger.
    [[nodiscard]] std::optional<std::uint64_t> at_or_after(std::uint64_t value) const;
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    /// How many are in [first, last].
    [[nodiscard]] std::uint64_t count_in(std::uint64_t first, std::uint64_t last) const;
    [[nodiscard]] bool empty() const noexcept { return ranges_.empty(); }
    /// First -> last of each range, ascending, with gaps between them.
    [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& ranges() const noexcept { return ranges_; }

    friend bool operator==(const Ranges&, const Ranges&) = default;

private:
    std::map<std::uint64_t, std::uint64_t> ranges_;
    std::uint64_t count_ = 0;
};

}  // namespace hufu::degradation::journal
