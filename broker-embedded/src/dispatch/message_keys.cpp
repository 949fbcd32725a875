#include <hufu/broker/message_keys.hpp>

#include <algorithm>
#include <cstring>

#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::broker {
namespace {

constexpr std::uint64_t odd_1 = 0x9E3779B97F4A7C15ULL;
constexpr std::uint64_t odd_2 = 0xC2B2AE3D27D4EB4FULL;

/// Spreads every bit over all others (the finalizer of MurmurHash3, x64).
std::uint64_t spread(std::uint64_t value) noexcept {
    value = (value ^ (value >> 33U)) * 0xFF51AFD7ED558CCDULL;
    value = (value ^ (value >> 33U)) * 0xC4CEB9FE1A85EC53ULL;
    return value ^ (value >> 33U);
}

std::uint64_t hash(std::string_view text, std::uint64_t seed) noexcept {
    std::uint64_t value = seed ^ (text.size() * odd_1);
    while (text.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), sizeof word);
        value = (value ^ (word * odd_1)) * odd_2;
        value ^= value >> 29U;
        text.remove_prefix(sizeof word);
    }
    std::uint64_t rest = 0;
    if (!text.empty()) std::memcpy(&rest, text.data(), text.size());
    return spread((value ^ (rest * odd_1)) * odd_2);
}

}  // namespace

std::uint64_t message_key(std::string_view topic, std::string_view key) noexcept { return hash(key, hash(topic, '#')); }

void hash_keys(std::string_view topic, std::string_view unique_key, std::string_view keys,
               std::vector<std::uint64_t>& into) {
    into.clear();
    const auto seed = hash(topic, '#');
    const auto add = [&](std::string_view key) {
        const auto hashed = hash(key, seed);
        if (std::find(into.begin(), into.end(), hashed) == into.end()) into.push_back(hashed);
    };
    if (!unique_key.empty()) add(unique_key);
    for (std::size_t count = 0; !keys.empty() && count < message_keys_max;) {
        const auto end = std::min(keys.find(' '), keys.size());
        if (end > 0) {
            add(keys.substr(0, end));
            ++count;
        }
        keys.remove_prefix(std::min(end + 1, keys.size()));
    }
}

void keys_of_record(std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
    keys.clear();
    const auto decoded = remoting::decode_record(record);
    if (!decoded) return;
    std::string_view unique_key;
    std::string_view tokens;
    remoting::PropertiesView properties{decoded->properties};
    while (const auto entry = properties.next()) {
        if (entry->name == remoting::property::unique_key) {
            unique_key = entry->value;
        } else if (entry->name == remoting::property::keys) {
            tokens = entry->value;
        }
    }
    hash_keys(decoded->topic, unique_key, tokens, keys);
}

}  // namespace hufu::broker
