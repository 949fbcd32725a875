// What a topic is: its queues, permissions and attributes, how they are stored, and which messages it takes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/broker/log.hpp>
#include <hufu/core/error.hpp>

namespace hufu::broker {

/// The kind of messages a topic takes (attribute `message.type`).
enum class MessageType : std::uint8_t {
    unspecified,  ///< a topic that takes all kinds: made by a send, or without the attribute
    normal,
    fifo,
    delay,
    transaction,
    mixed,  ///< takes all kinds, by declaration
};

/// "FIFO" and so on.
[[nodiscard]] std::string_view to_string(MessageType type) noexcept;

using Attributes = std::map<std::string, std::string, std::less<>>;

/// Attributes a topic can have. The first four are RocketMQ's (TopicAttributes).
namespace attribute {
inline constexpr std::string_view message_type = "message.type";
inline constexpr std::string_view queue_type = "queue.type";
inline constexpr std::string_view cleanup_policy = "cleanup.policy";
inline constexpr std::string_view reserve_time = "reserve.time";
/// When a send to the topic is answered: `sync` (it is on disk) or `async` (the log has taken it).
inline constexpr std::string_view flush_type = "flush.type";
// Of half messages, in milliseconds; -1: as the broker is told (TransactionOptions).
inline constexpr std::string_view first_check_ms = "transaction.first.check.ms";
inline constexpr std::string_view check_interval_ms = "transaction.check.interval.ms";
inline constexpr std::string_view check_interval_max_ms = "transaction.check.interval.max.ms";
inline constexpr std::string_view transaction_budget_ms = "transaction.budget.ms";
}  // namespace attribute

inline constexpr std::int32_t topic_queues_max = 16'384;

/// What is stored of a topic.
struct TopicConfig {
    std::int32_t read_queues = 0;
    std::int32_t write_queues = 0;
    std::int32_t perm = 6;
    bool order = false;
    std::int32_t sys_flag = 0;  ///< 1: unit, 2: unit subscription
    Attributes attributes = {};
    friend bool operator==(const TopicConfig&, const TopicConfig&) = default;

    [[nodiscard]] MessageType message_type() const noexcept;
    /// Whether sends wait for the disk; nothing: as the broker is told.
    [[nodiscard]] std::optional<bool> flush_sync() const noexcept;
    /// What is wrong with the numbers of `name`'s config, empty when nothing is.
    [[nodiscard]] std::string fault(std::string_view name) const;

    /// One line of text; `parse` also reads what earlier versions stored ("queues perm").
    [[nodiscard]] std::string to_text() const;
    [[nodiscard]] static std::optional<TopicConfig> parse(std::string_view text);
};

/// One topic of the broker.
struct Topic : TopicConfig {
    std::string name;
    std::vector<QueueHandle> queues;  ///< max(read_queues, write_queues) of them
    std::uint32_t next_queue = 0;     ///< where the broker puts the next message that names no queue
    MessageType type = MessageType::unspecified;
    std::optional<bool> waits_for_disk;  ///< flush_sync(), looked up once
};

/// Applies a change ("+key=value,-key", AttributeParser) to `attributes`, wholly or not at all. While `creating` only
/// additions are allowed. The error is a sentence for the client.
[[nodiscard]] Result<void> change_attributes(Attributes& attributes, std::string_view change, bool creating,
                                             bool mixed_allowed);

struct Traits;
/// The type of a message with these properties: of several signs the strongest, a transaction before a delay before a key.
[[nodiscard]] MessageType message_type_of(const Traits& traits) noexcept;
/// Why `topic` does not take a message of this type, empty when it does.
[[nodiscard]] std::string type_fault(const Topic& topic, MessageType type);

}  // namespace hufu::broker
