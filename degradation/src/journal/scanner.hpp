// Reads a segment group by group.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/file.hpp>

#include "journal/format.hpp"

namespace hufu::degradation::journal {

/// For one thread. Borrows the file for its life; what it shows is gone with the next `next`.
class GroupScanner {
public:
    /// How bytes are read: as programs see them, or as the disk has them.
    enum class From : std::uint8_t { cache, disk };

    GroupScanner(const File& file, std::uint32_t segment, std::uint64_t position, std::uint64_t end,
                 std::uint32_t group_before, From from = From::cache);

    /// False: no further group that counts begins at `position`.
    [[nodiscard]] Result<bool> next();
    /// Looks for a group from the next sector on, for what is behind a damaged place. False: there is none.
    [[nodiscard]] Result<bool> skip_damage();

    [[nodiscard]] std::span<const FrameView> frames() const noexcept { return frames_; }
    /// Where the group that was read begins, and where the next one does.
    [[nodiscard]] std::uint64_t begin() const noexcept { return begin_; }
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    /// The number of the group that was read last.
    [[nodiscard]] std::uint32_t group() const noexcept { return group_; }

private:
    [[nodiscard]] Result<bool> read_here();
    /// Makes at least `bytes` available from `position_` on; fewer at the end.
    [[nodiscard]] Result<std::string_view> view(std::size_t bytes);

    const File& file_;
    const std::uint32_t segment_;
    const std::uint64_t end_;
    const From from_;
    std::uint64_t begin_ = 0;
    std::uint64_t position_;
    std::uint32_t group_;
    std::string buffer_;
    std::uint64_t buffer_at_ = 0;  // position of its first byte
    std::vector<FrameView> frames_;
};

}  // namespace hufu::degradation::journal
