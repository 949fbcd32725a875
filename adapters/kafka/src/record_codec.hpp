// Message <-> Kafka record. No librdkafka here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/subscription.hpp>

namespace hufu::kafka {

/// Headers of a record that carry what is no header of the message.
namespace record_header {
inline constexpr std::string_view id = "hufu-id";      ///< 36 characters
inline constexpr std::string_view tag = "hufu-tag";    ///< absent when empty
inline constexpr std::string_view keys = "hufu-keys";  ///< joined by spaces; absent when there are none
/// Set on a delivery whose record had no value at all (a tombstone), which is not the same as an empty one.
inline constexpr std::string_view no_value = "hufu-no-value";
}  // namespace record_header

using RecordHeaders = std::vector<std::pair<std::string_view, std::string>>;

/// Kafka's name of a topic: '%' is written '.', since Kafka has no '%' and Hufu no '.'. Errors: '|', which has no place
/// there, and the names "." and "..".
[[nodiscard]] Result<std::string> kafka_topic(std::string_view topic);
[[nodiscard]] std::string hufu_topic(std::string_view topic);

/// What of the message goes into headers, under which names. Views point into the message and static text.
[[nodiscard]] RecordHeaders headers_of(const Message& message, const MessageId& id);

/// Key, value and headers together, as the limits count them.
[[nodiscard]] std::size_t record_bytes(const Message& message);

/// What Kafka or this adapter will never take: size, names of headers, topic.
[[nodiscard]] Result<void> check_limits(const Message& message, std::size_t record_bytes_max);

/// A record as it came.
struct RecordView {
    std::string_view topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::int64_t timestamp_ms = 0;             ///< of the producer or the broker, as the topic is configured; below 0: none
    std::optional<std::string_view> key = {};  ///< none: a record without a key
    std::optional<std::string_view> value = {};  ///< none: a tombstone
    std::vector<std::pair<std::string_view, std::string_view>> headers = {};
};

/// Any record becomes a message: what cannot be read as ours is kept as it is. Of headers with one name, the last counts.
[[nodiscard]] Message to_message(const RecordView& record);

/// The same for the same record, time-ordered like the others, of version 8 (RFC 9562, free form): its timestamp and a
/// hash of topic, partition, offset and timestamp, so that a topic that was deleted and made again gives new ones.
[[nodiscard]] MessageId id_of_place(const RecordView& record);

}  // namespace hufu::kafka
