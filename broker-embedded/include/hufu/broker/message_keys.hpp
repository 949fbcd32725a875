// By which keys a message is found: its UNIQ_KEY and its KEYS, under its topic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hufu::broker {

/// Of a message's KEYS so many are indexed, besides its UNIQ_KEY.
inline constexpr std::size_t message_keys_max = 32;

/// The hash that stands in the key index for `key` under `topic`. The same for ever: it is stored.
[[nodiscard]] std::uint64_t message_key(std::string_view topic, std::string_view key) noexcept;

/// Replaces `into` with the hashes of a message's keys, each once. `keys` are separated by spaces.
void hash_keys(std::string_view topic, std::string_view unique_key, std::string_view keys, std::vector<std::uint64_t>& into);

/// For LogOptions::keys_of.
void keys_of_record(std::span<const std::byte> record, std::vector<std::uint64_t>& keys);

}  // namespace hufu::broker
