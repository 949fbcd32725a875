// Identifiers: time-ordered message ids and 64-bit business keys.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>

namespace hufu {

/// Identity of a message, kept through every hop, retry and replay. A UUID version 7 (RFC 9562), so that ids are
/// time-ordered and indexes stay dense. The nil id means "not minted yet".
class MessageId {
public:
    constexpr MessageId() = default;
    explicit constexpr MessageId(const std::array<std::uint8_t, 16>& bytes) : bytes_{bytes} {}

    /// Reads the 36-character form, either case. `invalid_argument` names the text otherwise.
    static Result<MessageId> parse(std::string_view text);

    [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool is_nil() const noexcept { return *this == MessageId{}; }
    /// 36 lower-case characters, 8-4-4-4-12.
    [[nodiscard]] std::string to_string() const;
    /// The millisecond the id was minted in (meaningful for version 7 only).
    [[nodiscard]] SystemTime minted_at() const noexcept;

    friend constexpr auto operator<=>(const MessageId&, const MessageId&) = default;

private:
    std::array<std::uint8_t, 16> bytes_{};
};

/// Mints UUIDv7 ids that never go back within one generator, also when the wall clock does (RFC 9562 §6.2, method 1:
/// 12-bit counter after the millisecond). Thread-safe. Borrows clock and random for its life.
class MessageIdGenerator {
public:
    MessageIdGenerator(Clock& clock, Random& random) : clock_{clock}, random_{random} {}
    [[nodiscard]] MessageId next();

private:
    Clock& clock_;
    Random& random_;
    std::mutex mutex_;
    std::int64_t last_ms_ = 0;   // guarded by mutex_
    std::uint32_t counter_ = 0;  // guarded by mutex_
};

}  // namespace hufu

template <>
struct std::hash<hufu::MessageId> {
    std::size_t operator()(const hufu::MessageId& id) const noexcept;
};
