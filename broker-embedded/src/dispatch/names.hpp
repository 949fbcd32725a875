// What a topic or group may be called (RocketMQ TopicValidator's rules), and the names that carry meaning.
#pragma once

#include <string>
#include <string_view>

#include <hufu/remoting/record.hpp>

namespace hufu::broker {

inline constexpr std::string_view retry_prefix = "%RETRY%";
inline constexpr std::string_view dead_letter_prefix = "%DLQ%";
/// The topic whose route tells a client how topics that do not exist yet would be created.
inline constexpr std::string_view template_topic = "TBW102";

/// The broker's own: never a topic of clients.
inline constexpr std::string_view own_prefix = "rmq_sys_";
inline constexpr std::string_view timer_topic = "rmq_sys_wheel_timer";
inline constexpr std::string_view recall_topic = "rmq_sys_timer_recall";
inline constexpr std::string_view timer_progress_topic = "rmq_sys_timer_progress";
inline constexpr std::string_view halves_topic = "rmq_sys_tx_halves";
inline constexpr std::string_view moved_halves_topic = "rmq_sys_tx_moved";
inline constexpr std::string_view decisions_topic = "rmq_sys_tx_decisions";
inline constexpr std::string_view transaction_book_topic = "rmq_sys_tx_book";
/// Where delayed messages go whose topic was deleted before they were due.
inline constexpr std::string_view astray_topic = "%DLQ%rmq_sys_timer";

inline constexpr std::size_t topic_length_max = 127;
inline constexpr std::size_t derived_topic_length_max = 255;  // %RETRY% and %DLQ% topics
inline constexpr std::size_t group_length_max = 120;

[[nodiscard]] inline bool is_retry_topic(std::string_view topic) noexcept { return topic.starts_with(retry_prefix); }
[[nodiscard]] inline bool is_dead_letter_topic(std::string_view topic) noexcept {
    return topic.starts_with(dead_letter_prefix);
}
[[nodiscard]] std::string retry_topic_of(std::string_view group);
[[nodiscard]] std::string dead_letter_topic_of(std::string_view group);

/// "10.0.0.1:10911".
[[nodiscard]] std::string host_text(const remoting::Host& host);

/// Empty when `topic` is a valid name, else the sentence that says what is wrong with it.
[[nodiscard]] std::string topic_name_fault(std::string_view topic);
/// As above, for consumer and producer groups.
[[nodiscard]] std::string group_name_fault(std::string_view group);

}  // namespace hufu::broker
