// What a sender of a delayed message keeps in order to recall it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::broker {

/// On the wire: base64 (the URL alphabet, padded) of "v1 topic broker deliverMs uniqueKey offset". RocketMQ's clients read the
/// first four behind the version and pass the whole on; `offset`, which is ours, tells where the message waits.
struct RecallHandle {
    std::string topic;
    std::string broker_name;
    std::int64_t deliver_ms = 0;
    std::string unique_key;                    ///< without a space in it
    std::optional<std::uint64_t> offset = {};  ///< in the queue of pending messages; may be out of date

    [[nodiscard]] std::string encode() const;
    /// `invalid_argument` says what the handle is not.
    [[nodiscard]] static Result<RecallHandle> parse(std::string_view text);
};

}  // namespace hufu::broker
