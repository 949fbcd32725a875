// The place of an entry in a stream.
#pragma once

#include <charconv>
#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>

namespace hufu::redis {

/// "1700000000123-4": the time in front, in ms, is the server's; the number behind tells entries of one ms apart.
struct Position {
    std::uint64_t ms = 0;
    std::uint64_t number = 0;
    friend auto operator<=>(const Position&, const Position&) = default;

    /// What is not such a text is the beginning.
    [[nodiscard]] static Position of(std::string_view text) noexcept {
        Position position;
        const char* const end = text.data() + text.size();
        const auto [at, problem] = std::from_chars(text.data(), end, position.ms);
        if (problem == std::errc{} && at != end) std::from_chars(at + 1, end, position.number);
        return position;
    }
    /// When the entry was stored, by the server's clock.
    [[nodiscard]] SystemTime time() const noexcept {
        return SystemTime{std::chrono::milliseconds{static_cast<std::int64_t>(ms)}};
    }
    [[nodiscard]] std::string text() const { return std::to_string(ms) + '-' + std::to_string(number); }
    /// The least position behind it.
    [[nodiscard]] Position next() const noexcept {
        return number == std::numeric_limits<std::uint64_t>::max() ? Position{ms + 1, 0} : Position{ms, number + 1};
    }
};

}  // namespace hufu::redis
