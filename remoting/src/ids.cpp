#include <hufu/remoting/ids.hpp>

#include <cstring>

#include <hufu/remoting/bytes.hpp>

namespace hufu::remoting {
namespace {

constexpr char hex_digits[] = "0123456789ABCDEF";

void write_hex(char* into, const std::uint8_t* bytes, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        into[2 * i] = hex_digits[bytes[i] >> 4];
        into[2 * i + 1] = hex_digits[bytes[i] & 0x0F];
    }
}

int hex_value(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool read_hex(std::string_view text, std::uint8_t* into) noexcept {
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_value(text[i]);
        const int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        into[i / 2] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return true;
}

std::uint64_t fnv1a(std::string_view text, std::uint64_t hash) noexcept {
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x0000'0100'0000'01B3ULL;
    }
    return hash;
}

}  // namespace

std::int32_t java_hash(std::string_view text) noexcept {
    std::uint32_t hash = 0;
    const auto unit = [&hash](std::uint32_t value) { hash = 31 * hash + value; };
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = [&](std::size_t k) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i + k])); };
        const std::uint32_t first = byte(0);
        const std::size_t left = text.size() - i;
        if (first < 0xC0) {  // ASCII, or a stray continuation byte
            unit(first);
            i += 1;
        } else if (first < 0xE0 && left >= 2) {
            unit((first & 0x1F) << 6 | (byte(1) & 0x3F));
            i += 2;
        } else if (first < 0xF0 && left >= 3) {
            unit((first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F));
            i += 3;
        } else if (first >= 0xF0 && left >= 4) {
            const std::uint32_t point =
                (((first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F)) - 0x10000) &
                0xFFFFF;
            unit(0xD800 | point >> 10);
            unit(0xDC00 | (point & 0x3FF));
            i += 4;
        } else {
            unit(0xFFFD);
            i += 1;
        }
    }
    return static_cast<std::int32_t>(hash);
}

void OffsetMessageId::write(char* into) const noexcept {
    std::uint8_t bytes[16];
    std::memcpy(bytes, host.ip.data(), 4);
    store(bytes + 4, host.port);
    store(bytes + 8, offset);
    write_hex(into, bytes, sizeof bytes);
}

std::string OffsetMessageId::to_string() const {
    std::string text(size, '\0');
    write(text.data());
    return text;
}

std::optional<OffsetMessageId> OffsetMessageId::parse(std::string_view text) noexcept {
    std::uint8_t bytes[16];
    if (text.size() != size || !read_hex(text, bytes)) {
        return {};
    }
    OffsetMessageId id;
    std::memcpy(id.host.ip.data(), bytes, 4);
    id.host.port = load<std::int32_t>(bytes + 4);
    id.offset = load<std::int64_t>(bytes + 8);
    return id;
}

void write_unique_key(char* into, const MessageId& id) noexcept { write_hex(into, id.bytes().data(), id.bytes().size()); }

std::string unique_key(const MessageId& id) {
    std::string text(unique_key_size, '\0');
    write_unique_key(text.data(), id);
    return text;
}

MessageId message_id_of(std::string_view unique_key) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    if (unique_key.size() == unique_key_size && read_hex(unique_key, bytes.data())) {
        return MessageId{bytes};
    }
    constexpr std::uint64_t basis = 0xCBF2'9CE4'8422'2325ULL;
    store(bytes.data(), fnv1a(unique_key, basis));
    store(bytes.data() + 8, fnv1a(unique_key, basis ^ 0x9E37'79B9'7F4A'7C15ULL));
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0F) | 0x80);  // version 8: made by a rule of our own
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3F) | 0x80);
    return MessageId{bytes};
}

}  // namespace hufu::remoting
