#include "row.hpp"

#include <utility>

namespace hufu::postgres {
namespace {

void put(std::string& bytes, std::string_view text) {
    const auto size = static_cast<std::uint32_t>(text.size());
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(static_cast<unsigned char>(size >> shift));
    bytes += text;
}

/// Takes one length and text off the front; false if the bytes end too early.
bool take(std::string_view& bytes, std::string_view& text) {
    if (bytes.size() < 4) return false;
    std::uint32_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
    bytes.remove_prefix(4);
    if (bytes.size() < size) return false;
    text = bytes.substr(0, size);
    bytes.remove_prefix(size);
    return true;
}

void refuse_zero(std::string_view field, std::string_view value, const Message& message) {
    if (value.find('\0') == std::string_view::npos) return;
    throw Exception{
        Error{ErrorCode::invalid_argument, Disposition::reject,
              std::string{field} + " of a message for topic \"" + message.topic +
                  "\" contains a zero byte, which PostgreSQL's text cannot hold: encode it, or put it into the body"}};
}

}  // namespace

std::string packed_headers(const Headers& headers) {
    std::string bytes;
    for (const auto& [name, value] : headers) {
        put(bytes, name);
        put(bytes, value);
    }
    return bytes;
}

Result<Headers> unpacked_headers(std::string_view bytes) {
    Headers headers;
    while (!bytes.empty()) {
        std::string_view name;
        std::string_view value;
        if (!take(bytes, name) || !take(bytes, value)) {
            return Error{ErrorCode::corrupt, Disposition::fatal,
                         "the headers column of an outbox row is cut short: was it written by hand? use hufu.publish(...)"};
        }
        headers.set(name, value);
    }
    return headers;
}

std::string joined_keys(std::span<const std::string> keys) {
    std::string all;
    for (const auto& key : keys) {
        if (!all.empty()) all += ' ';
        all += key;
    }
    return all;
}

std::string hex(std::string_view bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text = "\\x";
    text.reserve(2 + 2 * bytes.size());
    for (const char byte : bytes) {
        text += digits[static_cast<unsigned char>(byte) >> 4];
        text += digits[static_cast<unsigned char>(byte) & 15];
    }
    return text;
}

void check(const Message& message) {
    validate(message).value();
    refuse_zero("tag", message.tag, message);
    refuse_zero("ordering key", message.ordering_key, message);
    for (const auto& key : message.keys) refuse_zero("a key", key, message);
}

Result<outbox::Row> row_from(const Rows& rows, std::size_t row, std::size_t column) {
    outbox::Row read;
    read.seq = rows.int8(row, column);
    read.created_at = rows.timestamp(row, column + 1);
    Message& message = read.message;
    message.id = rows.uuid(row, column + 2);
    message.topic = rows.text(row, column + 3);
    message.tag = rows.text(row, column + 4);
    std::string_view keys = rows.text(row, column + 5);
    while (!keys.empty()) {
        const auto space = keys.find(' ');
        message.keys.emplace_back(keys.substr(0, space));
        keys.remove_prefix(space == std::string_view::npos ? keys.size() : space + 1);
    }
    message.ordering_key = rows.text(row, column + 6);
    if (const auto headers = rows.text(row, column + 7); !headers.empty()) {
        auto unpacked = unpacked_headers(headers);
        if (!unpacked) {
            return Error{unpacked.error().code(), unpacked.error().disposition(),
                         "outbox row " + std::to_string(read.seq) + ": " + unpacked.error().text()};
        }
        message.headers = std::move(*unpacked);
    }
    message.body = rows.text(row, column + 8);
    // The database's time of the append, by whatever path it came. A message from elsewhere (redriven) brings its own.
    if (!message.headers.get(header::committed_at)) {
        message.headers.set(header::committed_at, std::to_string(read.created_at.time_since_epoch().count()));
    }
    return read;
}

}  // namespace hufu::postgres
