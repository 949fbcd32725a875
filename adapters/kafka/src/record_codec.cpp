#include "record_codec.hpp"

#include <algorithm>
#include <array>

namespace hufu::kafka {
namespace {

constexpr std::size_t topic_max = 249;

Error refuse(ErrorCode code, std::string text) { return Error{code, Disposition::reject, std::move(text)}; }

bool is_own(std::string_view name) noexcept {
    return name == record_header::id || name == record_header::tag || name == record_header::keys;
}

std::string joined(const std::vector<std::string>& keys) {
    std::string text;
    for (const auto& key : keys) {
        text.append(text.empty() ? "" : " ").append(key);
    }
    return text;
}

void split(std::string_view text, std::vector<std::string>& words) {
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        if (end > 0) {
            words.emplace_back(text.substr(0, end));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

/// FNV-1a, with a last mixing that spreads every bit.
class Hash {
public:
    explicit Hash(std::uint64_t seed) : state_{0xcbf29ce484222325U ^ seed} {}
    void add(std::string_view bytes) noexcept {
        for (const char byte : bytes) {
            add_byte(static_cast<unsigned char>(byte));
        }
    }
    void add(std::uint64_t number) noexcept {
        for (int shift = 0; shift < 64; shift += 8) {
            add_byte(static_cast<unsigned char>(number >> shift));
        }
    }
    [[nodiscard]] std::uint64_t value() const noexcept {
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
        return mixed ^ (mixed >> 31U);
    }

private:
    void add_byte(unsigned char byte) noexcept { state_ = (state_ ^ byte) * 0x100000001b3U; }
    std::uint64_t state_;
};

std::uint64_t hash_of_place(const RecordView& record, std::uint64_t seed) {
    Hash hash{seed};
    hash.add(record.topic);
    hash.add(static_cast<std::uint64_t>(record.partition));
    hash.add(static_cast<std::uint64_t>(record.offset));
    hash.add(static_cast<std::uint64_t>(record.timestamp_ms));
    return hash.value();
}

}  // namespace

Result<std::string> kafka_topic(std::string_view topic) {
    std::string name{topic};
    std::replace(name.begin(), name.end(), '%', '.');
    const auto allowed = [](char character) {
        return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
               (character >= '0' && character <= '9') || character == '.' || character == '_' || character == '-';
    };
    if (name.empty() || name == "." || name == ".." || name.size() > topic_max ||
        !std::all_of(name.begin(), name.end(), allowed)) {
        return refuse(ErrorCode::invalid_argument, "topic \"" + std::string{topic.substr(0, topic_max)} +
                                                       "\" has no name in Kafka: 1 to 249 characters of [a-zA-Z0-9._-], "
                                                       "where '%' becomes '.'; rename the topic");
    }
    return name;
}

std::string hufu_topic(std::string_view topic) {
    std::string name{topic};
    std::replace(name.begin(), name.end(), '.', '%');
    return name;
}

RecordHeaders headers_of(const Message& message, const MessageId& id) {
    RecordHeaders headers;
    headers.reserve(message.headers.size() + 3);
    headers.emplace_back(record_header::id, id.to_string());
    if (!message.tag.empty()) {
        headers.emplace_back(record_header::tag, message.tag);
    }
    if (!message.keys.empty()) {
        headers.emplace_back(record_header::keys, joined(message.keys));
    }
    for (const auto& [name, value] : message.headers) {
        headers.emplace_back(name, value);
    }
    return headers;
}

std::size_t record_bytes(const Message& message) {
    constexpr std::size_t frame = 40;        // of a record: lengths, offset and timestamp differences, at their longest
    constexpr std::size_t header_frame = 8;  // lengths of name and value
    constexpr std::size_t id_size = 36;
    std::size_t bytes = frame + message.body.size() + message.ordering_key.size() + record_header::id.size() + id_size;
    if (!message.tag.empty()) {
        bytes += record_header::tag.size() + message.tag.size() + header_frame;
    }
    if (!message.keys.empty()) {
        bytes += record_header::keys.size() + header_frame;
    }
    for (const auto& key : message.keys) {
        bytes += key.size() + 1;
    }
    for (const auto& [name, value] : message.headers) {
        bytes += name.size() + value.size() + header_frame;
    }
    return bytes;
}

Result<void> check_limits(const Message& message, std::size_t record_bytes_max) {
    if (const auto named = kafka_topic(message.topic); !named) {
        return named.error();
    }
    for (const auto& entry : message.headers) {
        if (is_own(entry.first)) {
            return refuse(ErrorCode::invalid_argument, "header \"" + entry.first + "\" of topic \"" + message.topic +
                                                           "\" is written by Hufu itself: choose another name");
        }
    }
    if (const std::size_t bytes = record_bytes(message); bytes > record_bytes_max) {
        return refuse(ErrorCode::too_large, "message for topic \"" + message.topic + "\" has " + std::to_string(bytes) +
                                                " bytes of body, key and headers: at most " +
                                                std::to_string(record_bytes_max) +
                                                " are sent; put large content elsewhere and send its address");
    }
    return {};
}

Message to_message(const RecordView& record) {
    Message message;
    message.topic = hufu_topic(record.topic);
    message.ordering_key = record.key.value_or(std::string_view{});
    message.body = record.value.value_or(std::string_view{});
    bool has_id = false;
    for (const auto& [name, value] : record.headers) {
        if (name == record_header::id) {
            const auto id = MessageId::parse(value);
            has_id = id && !id->is_nil();
            message.id = has_id ? *id : MessageId{};
        } else if (name == record_header::tag) {
            message.tag = value;
        } else if (name == record_header::keys) {
            message.keys.clear();
            split(value, message.keys);
        } else if (!name.empty()) {
            message.headers.set(name, value);
        }
    }
    if (!has_id) {
        message.id = id_of_place(record);
    }
    if (!record.value) {
        message.headers.set(record_header::no_value, "true");
    }
    return message;
}

MessageId id_of_place(const RecordView& record) {
    std::array<std::uint8_t, 16> bytes{};
    const auto time = static_cast<std::uint64_t>(std::max<std::int64_t>(record.timestamp_ms, 0));
    const std::uint64_t first = hash_of_place(record, 0);
    const std::uint64_t second = hash_of_place(record, 0x9e3779b97f4a7c15U);
    for (std::size_t i = 0; i < 6; ++i) {
        bytes[i] = static_cast<std::uint8_t>(time >> (40 - 8 * i));
    }
    for (std::size_t i = 0; i < 2; ++i) {
        bytes[6 + i] = static_cast<std::uint8_t>(first >> (8 * i));
    }
    for (std::size_t i = 0; i < 8; ++i) {
        bytes[8 + i] = static_cast<std::uint8_t>(second >> (8 * i));
    }
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0fU) | 0x80U);  // version 8
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3fU) | 0x80U);  // variant
    return MessageId{bytes};
}

}  // namespace hufu::kafka
