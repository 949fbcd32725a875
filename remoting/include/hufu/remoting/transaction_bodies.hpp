// JSON bodies of Hufu's own requests about transactions: 29001 (list), 29002 (show), 29003 (decide), 29004 (resume).
//
// `parse` refuses (`protocol`) what is no JSON object, and what is longer than the limits here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>

namespace hufu::remoting {

/// What has become of a transaction. In END's answer and in these bodies.
namespace transaction_state {
inline constexpr std::string_view pending = "pending";
inline constexpr std::string_view parked = "parked";      ///< nobody could say; waits for a person, or for a verdict
inline constexpr std::string_view conflict = "conflict";  ///< rolled back, then asked to commit; only in these bodies
inline constexpr std::string_view committed = "committed";
inline constexpr std::string_view rolled_back = "rolled_back";
}  // namespace transaction_state
/// True for one of the five words.
[[nodiscard]] bool is_transaction_state(std::string_view text) noexcept;

inline constexpr std::int32_t transactions_listed_max = 1'000;
inline constexpr std::size_t transaction_reason_bytes_max = 1'024;
inline constexpr std::size_t transaction_name_bytes_max = 255;

/// Body of 29001. Members at their defaults do not narrow the list. Oldest first.
struct TransactionFilter {
    std::string state = {};  ///< one of transaction_state; empty: pending, parked and conflict
    std::string producer_group = {};
    std::string topic = {};
    std::int64_t older_than_s = 0;
    std::int32_t limit = 100;  ///< 1 to transactions_listed_max
    std::string after = {};    ///< `next` of the page before
    friend bool operator==(const TransactionFilter&, const TransactionFilter&) = default;

    [[nodiscard]] static Result<TransactionFilter> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// One message of a transaction.
struct HalfData {
    std::string message_id;  ///< UNIQ_KEY
    std::string topic;
    std::int32_t queue_id = 0;
    std::string offset_message_id = {};  ///< where the half stands
    std::int64_t queue_offset = -1;      ///< in its own queue, once committed; -1: not visible
    std::int64_t body_bytes = 0;
    std::string keys = {};
    std::string born_host = {};
    friend bool operator==(const HalfData&, const HalfData&) = default;
};

/// What a person did with a transaction, or what it went through.
struct TransactionEvent {
    std::int64_t at_ms = 0;  ///< 0: not known any more
    std::string what = {};   ///< prepared, checked, parked, committed, rolled_back, resumed, late_commit_refused …
    std::string who = {};    ///< an operator, a client, or the broker
    std::string reason = {};
    friend bool operator==(const TransactionEvent&, const TransactionEvent&) = default;
};

/// A transaction. Answer to 29002, 29003 and 29004, and elements of the answer to 29001 (there without `events`).
struct TransactionData {
    std::string transaction_id;
    std::string state;
    std::string producer_group;
    std::string verdict_store = {};
    std::vector<HalfData> halves = {};
    std::int64_t prepared_at_ms = 0;
    std::int64_t decided_at_ms = 0;     ///< 0: not decided
    std::int64_t next_check_at_ms = 0;  ///< 0: none is due
    std::int32_t checks_answered = 0;
    std::int32_t checks_undelivered = 0;  ///< nobody was there to ask, or no answer came back
    std::string reason = {};              ///< why it is parked or in conflict, or was decided
    std::vector<TransactionEvent> events = {};
    friend bool operator==(const TransactionData&, const TransactionData&) = default;

    [[nodiscard]] static Result<TransactionData> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Answer to 29001.
struct TransactionList {
    std::vector<TransactionData> transactions;
    std::string next = {};    ///< `after` of the next page; empty: there is none
    std::int64_t total = -1;  ///< that match the filter; -1: not counted
    friend bool operator==(const TransactionList&, const TransactionList&) = default;

    [[nodiscard]] static Result<TransactionList> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

/// Body of 29002, 29003 and 29004. Names a transaction by its id or by the id (UNIQ_KEY or offset id) of one of its messages.
struct TransactionCommand {
    std::string id;
    std::string verdict = {};    ///< 29003: "commit" or "rollback"
    std::string reason = {};     ///< 29003 refuses an empty one
    std::string operator_ = {};  ///< who says so: for the audit
    friend bool operator==(const TransactionCommand&, const TransactionCommand&) = default;

    /// `id` is there and neither it nor the others are too long.
    [[nodiscard]] static Result<TransactionCommand> parse(std::string_view json);
    [[nodiscard]] std::string to_json() const;
};

}  // namespace hufu::remoting
