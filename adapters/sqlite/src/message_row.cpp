#include "message_row.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace hufu::sqlite {
namespace {

[[noreturn]] void throw_corrupt(const char* what) {
    throw Exception{Error{ErrorCode::corrupt, Disposition::fatal,
                          std::string{"a stored message has "} + what +
                              ": the table was changed by something other than Hufu; look at it with sqlite3"}};
}

void pack(std::string& into, std::string_view text) {
    const auto size = static_cast<std::uint32_t>(text.size());
    for (int shift = 0; shift < 32; shift += 8) {
        into.push_back(static_cast<char>((size >> shift) & 0xff));
    }
    into += text;
}

std::string_view unpack(std::string_view& from) {
    std::uint32_t size = 0;
    if (from.size() < 4) {
        throw_corrupt("headers that end early");
    }
    for (unsigned i = 0; i < 4; ++i) {
        size |= static_cast<std::uint32_t>(static_cast<unsigned char>(from[i])) << (8 * i);
    }
    from.remove_prefix(4);
    if (from.size() < size) {
        throw_corrupt("headers that end early");
    }
    const auto text = from.substr(0, size);
    from.remove_prefix(size);
    return text;
}

}  // namespace

std::string joined_keys(const std::vector<std::string>& keys) {
    std::string joined;
    for (const auto& key : keys) {
        if (!joined.empty()) {
            joined += ' ';
        }
        joined += key;
    }
    return joined;
}

std::string packed_headers(const Headers& headers) {
    std::string packed;
    for (const auto& [name, value] : headers) {
        pack(packed, name);
        pack(packed, value);
    }
    return packed;
}

std::int64_t microseconds_of(SystemTime time) noexcept { return time.time_since_epoch().count(); }

SystemTime time_of(std::int64_t microseconds) noexcept { return SystemTime{std::chrono::microseconds{microseconds}}; }

MessageId id_at(const Statement& row, int column) {
    const auto view = row.view(column);
    std::array<std::uint8_t, 16> bytes{};
    if (view.size() != bytes.size()) {
        throw_corrupt("an id that is not 16 bytes");
    }
    std::memcpy(bytes.data(), view.data(), bytes.size());
    return MessageId{bytes};
}

Message message_at(const Statement& row, int first) {
    Message message;
    message.id = id_at(row, first);
    message.topic = row.text(first + 2);
    message.tag = row.text(first + 3);
    for (std::string_view keys = row.view(first + 4); !keys.empty();) {
        const auto end = std::min(keys.find(' '), keys.size());
        message.keys.emplace_back(keys.substr(0, end));
        keys.remove_prefix(std::min(end + 1, keys.size()));
    }
    message.ordering_key = row.text(first + 5);
    for (std::string_view packed = row.view(first + 6); !packed.empty();) {
        const auto name = unpack(packed);
        message.headers.set(name, unpack(packed));
    }
    message.body = row.text(first + 7);
    return message;
}

}  // namespace hufu::sqlite
