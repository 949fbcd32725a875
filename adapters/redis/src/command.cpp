#include <array>
#include <charconv>

#include <hufu/redis/client.hpp>

namespace hufu::redis {
namespace {

void put_count(std::string& bytes, char sign, std::size_t count) {
    std::array<char, 24> text;
    const auto [end, problem] = std::to_chars(text.data(), text.data() + text.size(), count);
    bytes += sign;
    bytes.append(text.data(), end);
    bytes += "\r\n";
}

}  // namespace

Command::Command(std::span<const std::string_view> words) {
    begin(words.size());
    for (const auto word : words) add(word);
}

void Command::begin(std::size_t words) {
    bytes_.reserve(32 * words + 64);
    put_count(bytes_, '*', words);
}

void Command::add(std::string_view word) {
    put_count(bytes_, '$', word.size());
    bytes_ += word;
    bytes_ += "\r\n";
}

}  // namespace hufu::redis
