// Receipts: which groups must confirm a message, and what a confirmation says. Plain values and their text forms.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/message.hpp>

namespace hufu::outbox {

/// What the sender of a message asks for. Rides to the consumers in the header `hufu-receipts`, so that a consumer knows
/// what it owes and where to.
///
///     outbox.append(tx, {.topic = "orders", .ordering_key = order.id, .body = json}, {.groups = {"stock", "points"}});
struct Receipts {
    /// Consumer groups that must confirm, 1 to 32, each 1 to 127 characters of [%|a-zA-Z0-9_-], none twice.
    std::vector<std::string> groups = {};
    /// From the broker's confirmation to the first re-send, when a receipt is missing. At least 1 ms, at most 30 days.
    std::chrono::milliseconds deadline{30'000};
    /// The waits after that double, up to this. At least `deadline`, at most 30 days.
    std::chrono::milliseconds backoff_cap{600'000};
    /// How often it is sent in all, 1 to 1000; when the wait after the last one is over, it is parked.
    std::uint32_t sends_max = 8;
    /// The topic that the consumers' receipts go to.
    std::string receipts_topic = "hufu-receipts";
    /// Where the end is announced, by a message (`outcome_message`); empty: nowhere.
    std::string outcome_topic = {};

    friend bool operator==(const Receipts&, const Receipts&) = default;
};

/// Set on a message that asks for receipts.
inline constexpr std::string_view receipts_header = "hufu-receipts";
/// Set on a message that is sent again because receipts are missing: how many sends came before.
inline constexpr std::string_view resend_header = "hufu-resend";
/// Set on the message that announces an end: the id of the message that ended.
inline constexpr std::string_view receipt_of_header = "hufu-receipt-of";

/// `invalid_argument`/reject names field, value and rule.
[[nodiscard]] Result<void> validate(const Receipts& receipts);

/// The header's value and back. Decoding refuses what `validate` refuses.
[[nodiscard]] std::string encode(const Receipts& receipts);
[[nodiscard]] Result<Receipts> decode_receipts(std::string_view text);

/// Checks both and returns the message with the header set. Throws `Exception` (`invalid_argument`/reject).
[[nodiscard]] Message with_receipts(Message message, const Receipts& receipts);

/// One group's word about one message.
struct Receipt {
    enum class Outcome : std::uint8_t {
        done,     ///< the effect is committed
        refused,  ///< the group will never take it; the sender parks the message
    };
    MessageId message = {};
    std::string group = {};
    Outcome outcome = Outcome::done;
    std::string reason = {};  ///< of a refusal; cut at 1000 bytes

    friend bool operator==(const Receipt&, const Receipt&) = default;
};

/// A receipt as a message: the body is the lines "hufu-receipt/1", message id, group, "done" or "refused", reason (the rest).
/// The id is left nil, for whoever accepts it to mint.
[[nodiscard]] Message receipt_message(const std::string& topic, const Receipt& receipt);
/// `protocol`/reject for a body that is no receipt.
[[nodiscard]] Result<Receipt> read_receipt(const Message& message);

/// What a consumer group owes the sender of a message it was given: nothing, unless the message names the group. Decides when
/// a receipt is written; whoever runs the guarded effect writes it.
class ReceiptDuty {
public:
    ReceiptDuty(std::string group, const Message& message);
    [[nodiscard]] bool owed() const noexcept { return !topic_.empty(); }

    /// What the effect's own transaction has to append, now that the effect has said `handled`: so there is no effect without a
    /// receipt and no receipt without an effect.
    [[nodiscard]] std::optional<Message> with_effect(Handled handled) const;
    /// What has to be appended by itself after the guarded run ended so: once more for a duplicate, whose first receipt may be
    /// lost; the refusal, which has no effect to go with. `written`: the transaction that was committed has appended it.
    [[nodiscard]] std::optional<Message> afterwards(Handled handled, std::string_view reason, bool written) const;

private:
    std::string group_;
    MessageId message_;
    std::string topic_;  // empty: nothing is owed
};

/// What became of one receipt in the sender's book.
enum class ReceiptVerdict : std::uint8_t {
    taken,            ///< recorded; other groups are missing
    completed,        ///< recorded, and it was the last one
    parked,           ///< a refusal was recorded, and the message is parked
    duplicate,        ///< this group had spoken before; nothing changed
    unknown_group,    ///< the message does not name this group; nothing changed
    unknown_message,  ///< no message of this id asks for receipts here; nothing changed
};
inline constexpr std::size_t receipt_verdicts = 6;
[[nodiscard]] std::string_view to_string(ReceiptVerdict verdict) noexcept;

/// The announcement of an end: topic as asked for, same ordering key, keys = {id}, body "completed" or "parked: REASON".
[[nodiscard]] Message outcome_message(const Receipts& receipts, const MessageId& id, const std::string& ordering_key,
                                      const std::string& outcome);

}  // namespace hufu::outbox
