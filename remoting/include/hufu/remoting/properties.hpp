// A message's properties as they travel: name 0x01 value 0x02 name 0x01 value 0x02 ...
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hufu::remoting {

inline constexpr char name_separator = '\x01';
inline constexpr char property_separator = '\x02';
inline constexpr std::size_t properties_bytes_max = 32'767;

/// Property names with a meaning in the protocol (MessageConst).
namespace property {
inline constexpr std::string_view keys = "KEYS";  ///< separated by one space
inline constexpr std::string_view tags = "TAGS";
inline constexpr std::string_view unique_key = "UNIQ_KEY";  ///< the message id that users see
inline constexpr std::string_view sharding_key = "__SHARDINGKEY";
inline constexpr std::string_view sharding_key_go = "SHARDING_KEY";  ///< what the Go client calls it
inline constexpr std::string_view wait = "WAIT";
inline constexpr std::string_view delay_level = "DELAY";
inline constexpr std::string_view region = "MSG_REGION";
inline constexpr std::string_view trace_on = "TRACE_ON";
inline constexpr std::string_view cluster = "CLUSTER";
inline constexpr std::string_view transaction_prepared = "TRAN_MSG";
inline constexpr std::string_view producer_group = "PGROUP";
inline constexpr std::string_view transaction_id = "__transactionId__";  ///< UNIQ_KEY of the half
inline constexpr std::string_view check_immunity_s = "CHECK_IMMUNITY_TIME_IN_SECONDS";
inline constexpr std::string_view check_times = "TRANSACTION_CHECK_TIMES";
inline constexpr std::string_view prepared_queue_offset = "TRAN_PREPARED_QUEUE_OFFSET";  ///< of a half that was moved
// Hufu's own. Halves with one transaction id are one transaction; without it UNIQ_KEY is the transaction's id.
inline constexpr std::string_view hufu_transaction_id = "HUFU_TX_ID";
inline constexpr std::string_view hufu_transaction_home =
    "HUFU_TX_HOME";  ///< of a half that retention copied: where it stood first
inline constexpr std::string_view hufu_verdict_store = "HUFU_TX_STORE";  ///< uuid of the store that knows the verdict
inline constexpr std::string_view retry_topic = "RETRY_TOPIC";
inline constexpr std::string_view timer_delay_s = "TIMER_DELAY_SEC";
inline constexpr std::string_view timer_delay_ms = "TIMER_DELAY_MS";
inline constexpr std::string_view timer_deliver_ms = "TIMER_DELIVER_MS";
inline constexpr std::string_view timer_out_ms = "TIMER_OUT_MS";          ///< when it is due
inline constexpr std::string_view timer_enqueue_ms = "TIMER_ENQUEUE_MS";  ///< when the broker took it
inline constexpr std::string_view timer_dequeue_ms = "TIMER_DEQUEUE_MS";  ///< when it was put into its queue
inline constexpr std::string_view real_topic = "REAL_TOPIC";
inline constexpr std::string_view real_queue_id = "REAL_QID";
inline constexpr std::string_view dlq_origin_topic = "DLQ_ORIGIN_TOPIC";
inline constexpr std::string_view dlq_origin_message_id = "DLQ_ORIGIN_MESSAGE_ID";
inline constexpr std::string_view origin_message_id = "ORIGIN_MESSAGE_ID";  ///< of the first attempt
inline constexpr std::string_view reply_to_client = "REPLY_TO_CLIENT";      ///< client id of who asked
inline constexpr std::string_view push_reply_time = "PUSH_REPLY_TIME";
}  // namespace property

/// Iterates over an encoded property string without copying. Pairs without a name or without the separator are skipped;
/// a missing trailing 0x02 is fine. Empty values are handed out here, though Java's parser drops them.
class PropertiesView {
public:
    struct Entry {
        std::string_view name;
        std::string_view value;
    };

    explicit PropertiesView(std::string_view encoded = {}) noexcept : rest_{encoded} {}
    /// The next pair, or nothing at the end.
    [[nodiscard]] std::optional<Entry> next() noexcept;
    /// The value of the first pair called `name` from here on; does not move.
    [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept;

private:
    std::string_view rest_;
};

/// True when `text` can stand in a property: no 0x01, no 0x02.
[[nodiscard]] bool is_property_text(std::string_view text) noexcept;
/// Appends one pair with its trailing 0x02. Both must satisfy `is_property_text`.
void append_property(std::string& out, std::string_view name, std::string_view value);

}  // namespace hufu::remoting
