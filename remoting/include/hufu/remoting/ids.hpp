// Identifiers of the protocol: offset message ids, unique keys, tag codes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/ids.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::remoting {

/// Java's String.hashCode of UTF-8 `text` (over its UTF-16 units).
[[nodiscard]] std::int32_t java_hash(std::string_view text) noexcept;
/// What a queue entry holds of a message's TAGS: java_hash, sign-extended; 0 when there are none.
[[nodiscard]] inline std::int64_t tags_code(std::string_view tags) noexcept { return tags.empty() ? 0 : java_hash(tags); }

/// Where a message is: its broker and its offset in the log. 32 upper-case hexadecimal digits on the wire.
struct OffsetMessageId {
    static constexpr std::size_t size = 32;
    Host host;
    std::int64_t offset = 0;
    friend bool operator==(const OffsetMessageId&, const OffsetMessageId&) = default;

    /// Writes exactly `size` characters, no terminator.
    void write(char* into) const noexcept;
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] static std::optional<OffsetMessageId> parse(std::string_view text) noexcept;
};

/// UNIQ_KEY of a Hufu message: the 16 bytes of its id as 32 upper-case hexadecimal digits, the same shape as a Java
/// client's, so that index lookups and trace tools keep working.
inline constexpr std::size_t unique_key_size = 32;
void write_unique_key(char* into, const MessageId& id) noexcept;
[[nodiscard]] std::string unique_key(const MessageId& id);
/// The id behind a UNIQ_KEY. Foreign keys of other lengths give a stable id made from a hash of the text.
[[nodiscard]] MessageId message_id_of(std::string_view unique_key) noexcept;

}  // namespace hufu::remoting
