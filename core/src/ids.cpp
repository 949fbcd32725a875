#include <hufu/core/ids.hpp>

#include <cstring>

namespace hufu {
namespace {

int hex_digit(char character) noexcept {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    if (character >= 'A' && character <= 'F') return character - 'A' + 10;
    return -1;
}

constexpr bool dash_before(std::size_t byte) noexcept { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

}  // namespace

Result<MessageId> MessageId::parse(std::string_view text) {
    const auto refuse = [&] {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "message id \"" + std::string{text.substr(0, 64)} +
                         "\" is not a UUID: 36 characters in the form 8-4-4-4-12 hexadecimal digits are needed"};
    };
    if (text.size() != 36) return refuse();
    std::array<std::uint8_t, 16> bytes{};
    std::size_t position = 0;
    for (std::size_t byte = 0; byte < 16; ++byte) {
        if (dash_before(byte) && text[position++] != '-') return refuse();
        const int high = hex_digit(text[position]);
        const int low = hex_digit(text[position + 1]);
        if (high < 0 || low < 0) return refuse();
        bytes[byte] = static_cast<std::uint8_t>(high * 16 + low);
        position += 2;
    }
    return MessageId{bytes};
}

std::string MessageId::to_string() const {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t byte = 0; byte < 16; ++byte) {
        if (dash_before(byte)) text.push_back('-');
        text.push_back(digits[bytes_[byte] >> 4]);
        text.push_back(digits[bytes_[byte] & 15]);
    }
    return text;
}

SystemTime MessageId::minted_at() const noexcept {
    std::int64_t milliseconds = 0;
    for (std::size_t byte = 0; byte < 6; ++byte) milliseconds = milliseconds << 8 | bytes_[byte];
    return SystemTime{std::chrono::milliseconds{milliseconds}};
}

MessageId MessageIdGenerator::next() {
    const std::int64_t now_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_.system_now().time_since_epoch()).count();
    const std::uint64_t chance = random_.next();

    std::int64_t milliseconds = 0;
    std::uint32_t counter = 0;
    {
        const std::lock_guard lock{mutex_};
        if (now_ms > last_ms_) {
            last_ms_ = now_ms;
            counter_ =
                static_cast<std::uint32_t>(chance & 0x7ff);  // the upper half of the counter stays free for this millisecond
        } else if (++counter_ > 0xfff) {
            ++last_ms_;  // the counter is used up or the clock stepped back: run ahead of the clock, never backwards
            counter_ = 0;
        }
        milliseconds = last_ms_;
        counter = counter_;
    }

    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t byte = 0; byte < 6; ++byte) bytes[byte] = static_cast<std::uint8_t>(milliseconds >> (40 - 8 * byte));
    bytes[6] = static_cast<std::uint8_t>(0x70 | counter >> 8);
    bytes[7] = static_cast<std::uint8_t>(counter);
    const std::uint64_t tail = random_.next();
    std::memcpy(&bytes[8], &tail, 8);
    bytes[8] = static_cast<std::uint8_t>(0x80 | (bytes[8] & 0x3f));
    return MessageId{bytes};
}

}  // namespace hufu

std::size_t std::hash<hufu::MessageId>::operator()(const hufu::MessageId& id) const noexcept {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::memcpy(&high, id.bytes().data(), 8);
    std::memcpy(&low, id.bytes().data() + 8, 8);
    return static_cast<std::size_t>((high * 0x9e3779b97f4a7c15ULL) ^ low);
}
