#include <hufu/degradation/packed_message.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace hufu::degradation {
namespace {

constexpr char version = 1;

template <class Number>
void put_number(std::string& out, Number number) {
    for (std::size_t i = 0; i < sizeof number; ++i) {
        out += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xFFU);
    }
}

void put_text(std::string& out, std::string_view text) {
    put_number(out, static_cast<std::uint32_t>(text.size()));
    out += text;
}

/// Takes fields off the front; once something is missing everything after is empty and `good` is false.
class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_{bytes} {}

    template <class Number>
    Number number() {
        const std::string_view bytes = take(sizeof(Number));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        }
        return static_cast<Number>(value);
    }
    std::string_view text() { return take(number<std::uint32_t>()); }
    std::string_view take(std::size_t size) {
        if (size > rest_.size()) {
            good_ = false;
            rest_ = {};
            return {};
        }
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    [[nodiscard]] bool good() const noexcept { return good_; }
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = true;
};

Error corrupt(const std::string& what) {
    return Error{ErrorCode::corrupt, Disposition::reject,
                 "a buffered message cannot be read: " + what + "; park it, and look at its bytes"};
}

}  // namespace

void pack(const Message& message, std::string& out) {
    out += version;
    const auto& id = message.id.bytes();
    out.append(reinterpret_cast<const char*>(id.data()), id.size());
    put_text(out, message.topic);
    put_text(out, message.tag);
    put_number(out, static_cast<std::uint32_t>(message.keys.size()));
    for (const auto& key : message.keys) {
        put_text(out, key);
    }
    put_text(out, message.ordering_key);
    put_number(out, static_cast<std::uint32_t>(message.headers.size()));
    for (const auto& [name, value] : message.headers) {
        put_text(out, name);
        put_text(out, value);
    }
    put_text(out, message.body);
    out += message.deliver_at ? '\1' : '\0';
    if (message.deliver_at) {
        using std::chrono::microseconds;
        put_number(out, std::chrono::duration_cast<microseconds>(message.deliver_at->time_since_epoch()).count());
    }
}

Result<Message> unpack(std::string_view bytes) {
    Reader reader{bytes};
    if (const auto found = reader.number<char>(); !reader.good() || found != version) {
        return corrupt(bytes.empty() ? "it is empty"
                                     : "version " + std::to_string(static_cast<int>(found)) + " is not known here");
    }
    Message message;
    std::array<std::uint8_t, 16> id{};
    const auto id_bytes = reader.take(id.size());
    std::copy(id_bytes.begin(), id_bytes.end(), id.begin());
    message.id = MessageId{id};
    message.topic = reader.text();
    message.tag = reader.text();
    for (auto left = reader.number<std::uint32_t>(); left > 0 && reader.good(); --left) {
        message.keys.emplace_back(reader.text());
    }
    message.ordering_key = reader.text();
    for (auto left = reader.number<std::uint32_t>(); left > 0 && reader.good(); --left) {
        const auto name = reader.text();
        message.headers.set(name, reader.text());
    }
    message.body = reader.text();
    if (reader.number<std::uint8_t>() != 0) {
        message.deliver_at = SystemTime{std::chrono::microseconds{reader.number<std::int64_t>()}};
    }
    if (!reader.good()) {
        return corrupt("it is cut at " + std::to_string(bytes.size()) + " bytes");
    }
    if (!reader.at_end()) {
        return corrupt("bytes follow its last field");
    }
    return message;
}

}  // namespace hufu::degradation
