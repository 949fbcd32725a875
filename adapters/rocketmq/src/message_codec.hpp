// How a hufu::Message travels as a RocketMQ message.
//
// id: UNIQ_KEY. tag: TAGS. keys: KEYS, joined by spaces. ordering key: __SHARDINGKEY. Headers: properties of their own
// names; names of headers with an empty value, which RocketMQ drops, are listed in hufu-empty, joined by 0x20.
#pragma once

#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::rocketmq {

/// What no broker will take, beyond hufu::validate: header names of the protocol, oversized properties or body.
[[nodiscard]] Result<void> check_limits(const Message& message, std::size_t body_bytes_max);

/// Appends the message's properties, encoded. The message passed `check_limits`; `id` is its id or the one minted for it.
void append_properties(std::string& out, const Message& message, const MessageId& id);

/// The message in a stored record; the tag is the caller's to fill. zlib-compressed bodies are inflated. A body that
/// cannot be unpacked is delivered as stored, with the header "hufu-undecoded" naming its compression.
[[nodiscard]] Delivery to_delivery(const remoting::Record& record);

}  // namespace hufu::rocketmq
