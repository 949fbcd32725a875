#include "recall_handle.hpp"

#include <array>
#include <charconv>

namespace hufu::broker {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t handle_bytes_max = 2048;

std::string to_base64url(std::string_view bytes) {
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        std::uint32_t three = 0;
        for (std::size_t i = 0; i < 3; ++i)
            three = three << 8U | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U);
        for (std::size_t i = 0; i < 4; ++i) text += at + i <= bytes.size() ? alphabet[three >> (18U - 6U * i) & 63U] : '=';
    }
    return text;
}

/// Nothing for text outside of the alphabet.
std::optional<std::string> from_base64url(std::string_view text) {
    while (text.ends_with('=')) text.remove_suffix(1);
    if (text.size() % 4 == 1) return std::nullopt;
    std::string bytes;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char character : text) {
        const auto value = alphabet.find(character);
        if (value == std::string_view::npos) return std::nullopt;
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes += static_cast<char>(bits >> count & 0xFFU);
    }
    return bytes;
}

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    return fault == std::errc{} && end == text.data() + text.size();
}

Error malformed(std::string text) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "the recall handle " + std::move(text)};
}

}  // namespace

std::string RecallHandle::encode() const {
    std::string text = "v1 " + topic + ' ' + broker_name + ' ' + std::to_string(deliver_ms) + ' ' + unique_key;
    if (offset) text += ' ' + std::to_string(*offset);
    return to_base64url(text);
}

Result<RecallHandle> RecallHandle::parse(std::string_view text) {
    if (text.size() > handle_bytes_max)
        return malformed("has " + std::to_string(text.size()) + " characters; no handle is that long");
    const auto bytes = from_base64url(text);
    if (!bytes) return malformed("is not base64 of the URL alphabet; give it as the send returned it");
    std::array<std::string_view, 6> words{};
    std::size_t count = 0;
    for (std::string_view rest{*bytes}; count < words.size(); ++count) {
        words[count] = rest.substr(0, rest.find(' '));
        if (words[count].size() == rest.size()) {
            ++count;
            break;
        }
        rest.remove_prefix(words[count].size() + 1);
    }
    RecallHandle handle;
    if (count < 5 || words[0] != "v1" || !read_number(words[3], handle.deliver_ms) || words[4].empty())
        return malformed("does not say \"v1 topic broker time key\"; give it as the send returned it");
    handle.topic = words[1];
    handle.broker_name = words[2];
    handle.unique_key = words[4];
    if (std::uint64_t offset = 0; count == 6 && read_number(words[5], offset)) handle.offset = offset;
    return handle;
}

}  // namespace hufu::broker
