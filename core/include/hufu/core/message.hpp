// What travels.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>

namespace hufu {

/// Names and values that ride beside the body, in the order they were added. Names are case-sensitive and unique.
class Headers {
public:
    using Entry = std::pair<std::string, std::string>;

    /// Adds, or replaces the value of, `name`.
    void set(std::string_view name, std::string_view value);
    /// The value, or an empty optional.
    [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept;
    void remove(std::string_view name);
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] auto begin() const noexcept { return entries_.begin(); }
    [[nodiscard]] auto end() const noexcept { return entries_.end(); }
    friend bool operator==(const Headers&, const Headers&) = default;

private:
    std::vector<Entry> entries_;
};

/// Names of the headers that Hufu itself sets. Users' own names must not begin with "hufu-".
namespace header {
inline constexpr std::string_view trace_parent = "traceparent";           ///< W3C trace context
inline constexpr std::string_view dead_reason = "hufu-dead-reason";       ///< why it became a dead letter
inline constexpr std::string_view dead_topic = "hufu-dead-topic";         ///< topic it was consumed from
inline constexpr std::string_view attempts = "hufu-attempts";             ///< handler runs before it died
inline constexpr std::string_view committed_at = "hufu-committed-at-us";  ///< append time, microseconds since 1970 UTC
/// When the message was first stored by any broker or buffer, microseconds since 1970 UTC. Whoever stores a message anew
/// (dead letter, buffer, redrive, replay) sets it unless it is there, so that a guard knows the message's whole age.
inline constexpr std::string_view first_stored_at = "hufu-first-stored-at-us";
}  // namespace header

/// A message. A plain value: copy, move, fill with designated initialisers.
struct Message {
    MessageId id = {};                   ///< nil: minted by whoever accepts it
    std::string topic = {};              ///< 1 to 127 characters of [%|a-zA-Z0-9_-]
    std::string tag = {};                ///< optional, for filtering; no "||"
    std::vector<std::string> keys = {};  ///< business keys to find it by; no spaces inside
    std::string ordering_key = {};       ///< messages of one topic with the same key keep their order; empty: no order
    Headers headers = {};
    std::string body = {};                      ///< bytes
    std::optional<SystemTime> deliver_at = {};  ///< not before; ends the ordering promise of this message; past means now

    friend bool operator==(const Message&, const Message&) = default;
};

/// Checks what no store or broker will accept: topic, tag, key and header syntax. The error names field, value and rule.
[[nodiscard]] Result<void> validate(const Message& message);

}  // namespace hufu
