// The book of messages that wait for receipts: the store port.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/outbox/receipts.hpp>

// The rules of store.hpp hold here too: one thread at a time, one transaction per call, every call can be repeated.
//
// The life of a message that asks for receipts:
//   appended    its row here is written in the transaction that writes its lane row, so that no crash forgets it and no receipt
//               can come before it
//   awaiting    the settle of its lane row starts the clock (LaneSettler::settle, ParkingLot::settle), in one transaction
//   completed   every group has confirmed: it leaves the book, nothing is sent any more
//   parked      a group refused, or the last wait is over: it stays in the book until receipts complete it or a person acts
namespace hufu::outbox {

struct AuditNote;

/// A message whose receipts are overdue, lent to whoever sends it again.
struct OverdueMessage {
    Message message = {};
    Receipts asked = {};
    std::uint32_t sends = 0;                ///< confirmed sends so far (since a person asked for more, if one did)
    std::vector<std::string> missing = {};  ///< groups that have not confirmed
};

struct Overdue {
    std::vector<OverdueMessage> messages = {};
    std::optional<std::chrono::milliseconds> next_due_in = {};  ///< of what is left; database time
};

/// A re-send that the broker confirmed.
struct SentAgain {
    MessageId id = {};
    std::chrono::milliseconds wait{0};  ///< until its receipts are overdue once more
};

struct ParkOverdue {
    MessageId id = {};
    std::string reason = {};
};

/// Which messages a person means: one, or all with this ordering key (or business key).
struct AwaitedSelection {
    std::optional<MessageId> id = {};
    std::string key = {};  ///< used where `id` is not set
};

/// Something that happened to a message.
struct LifeEvent {
    SystemTime at = {};       ///< database time
    std::string what = {};    ///< appended, sent, receipt, refused, parked, resend, completed, discarded
    std::string detail = {};  ///< group and reason, who and why …
};

/// The whole life of one message, as far as the book knows it.
struct LifeStory {
    MessageId id = {};
    std::string topic = {};
    std::string ordering_key = {};
    /// `pending` (in the lane, delayed or in the parking lot: `hufu outbox list`), `awaiting`, `parked`, `completed`, `discarded`
    std::string state = {};
    std::uint32_t sends = 0;                                     ///< confirmed by the broker
    std::vector<std::string> missing = {};                       ///< groups that have not confirmed
    std::optional<std::chrono::milliseconds> next_send_in = {};  ///< while awaiting; negative: overdue
    std::vector<LifeEvent> events = {};                          ///< oldest first
};

class AwaitingRows {
public:
    virtual ~AwaitingRows() = default;

    /// Takes receipts, all in one transaction; the verdict of each, in order. The first word of a group counts, except that
    /// "done" replaces a refusal. Safe to repeat and from several processes at once. Durable when it returns.
    virtual Result<std::vector<ReceiptVerdict>> take(std::span<const Receipt> receipts) = 0;

    // The resender's.
    /// Up to `limit` messages that are overdue by the database's clock, earliest first, and keeps them from being overdue
    /// (for everybody) for `hold`: an attempt that dies with its process is made again after that.
    virtual Result<Overdue> claim_overdue(std::size_t limit, std::chrono::milliseconds hold) = 0;
    /// The broker has confirmed these: counted, and due again after their wait. Those that ended meanwhile are passed over.
    virtual Result<void> sent_again(std::span<const SentAgain> sent) = 0;
    /// Nothing more is sent of these until a person acts. Those that ended meanwhile are passed over.
    virtual Result<void> park_overdue(std::span<const ParkOverdue> parks) = 0;
    /// Forgets up to `limit` messages that ended longer than `keep` ago. Returns how many.
    virtual Result<std::uint64_t> forget(std::chrono::milliseconds keep, std::size_t limit) = 0;

    // Everybody's.
    /// At most `limit` messages, oldest first. `not_found`/reject if none is known.
    virtual Result<std::vector<LifeStory>> trace(const AwaitedSelection& selection, std::size_t limit) = 0;
    /// Makes them overdue now, with a fresh count, and writes the audit. Returns how many. `not_found`/reject if none is
    /// known; `conflict`/reject if none of them can be sent again (completed, or not sent for the first time yet).
    virtual Result<std::uint64_t> resend(const AwaitedSelection& selection, const AuditNote& note) = 0;
};

// For adapters: the sentences that all stores answer with.
[[nodiscard]] Error no_such_message(const AwaitedSelection& selection);
/// `state`: of a message that was found.
[[nodiscard]] Error cannot_resend(const AwaitedSelection& selection, const std::string& state);

}  // namespace hufu::outbox
