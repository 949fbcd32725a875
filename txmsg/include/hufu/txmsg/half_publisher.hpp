// The way to a broker for transaction messages: halves, their end, and the broker's questions.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>
#include <hufu/core/publisher.hpp>

namespace hufu::txmsg {

/// Identity of a transaction: a UUIDv7, never used twice. All its halves carry it.
using TransactionId = MessageId;

/// What is said of a transaction. `unknown`: whoever was asked cannot tell (now); ask again later.
enum class Verdict : std::uint8_t { unknown, commit, rollback };

[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

/// What all halves of one transaction share.
struct HalfContext {
    TransactionId transaction = {};
    std::string group = {};    ///< producer group; who is asked when END does not come
    std::string handler = {};  ///< who in the group is asked ("order-paid"); empty: the group's only one. [a-zA-Z0-9_-]
    std::string store = {};    ///< uuid of the verdict store that knows the outcome; empty: only a checker of the user knows
    std::optional<std::chrono::seconds> first_check_after = {};  ///< unset: as the broker or topic is configured

    friend bool operator==(const HalfContext&, const HalfContext&) = default;
};

/// A half message as the broker knows it.
struct Half {
    MessageId id = {};       ///< the message's; the consumer will see the same
    std::string topic = {};  ///< where it becomes visible
    std::string token = {};  ///< the adapter's own (which broker, which offsets); opaque, of any bytes

    friend bool operator==(const Half&, const Half&) = default;
};

/// What became of one half. Starts, and after any lost answer stays, `in_doubt`; `half.token` is set when confirmed.
struct HalfOutcome {
    PublishStatus status = PublishStatus::in_doubt;
    Error error = {};  ///< meaningful unless confirmed
    Half half = {};    ///< `id` and `topic` are always set once `done` was called
};

/// What the broker says of a transaction after END.
struct EndOutcome {
    enum class State : std::uint8_t {
        unknown,      ///< no answer in time, or a broker that gives none: check-back settles it
        committed,    ///< every half is visible, or will be at its `deliver_at`
        rolled_back,  ///< no half will ever be visible
        parked,       ///< the broker wants a person to look; see the error
        pending,      ///< taken note of, not decided (END said `unknown`)
        refused,      ///< decided the other way before, or not this broker's; see the error
    };
    State state = State::unknown;
    bool decided_before = false;  ///< an earlier END, check or person had decided the same
    Error error = {};             ///< for `unknown`, `parked` and `refused`; `retry`: END may be said once more
};

/// The broker's question: what became of this transaction?
struct Check {
    HalfContext context = {};
    Message message = {};         ///< one of its halves, whole
    Half half = {};               ///< for END outside the answer
    std::uint32_t times = 0;      ///< how often this was asked before, as far as the broker says
    SystemTime prepared_at = {};  ///< when the broker stored the half, by its clock
};

/// Halves out, verdicts out, checks in. Thread-safe.
///
/// Delivery: a half is stored at least once; copies of one (same id and transaction) become visible once where the broker
/// decides by transaction (the bundled one does). Nothing is visible before END said commit.
class HalfPublisher {
public:
    /// Called exactly once per call, from any thread (also from inside the call), when every outcome is final.
    using Done = std::function<void()>;

    virtual ~HalfPublisher() = default;  ///< Ends what is in flight as in doubt, calls every `done`, then returns.

    /// Stores `messages` as halves of `context.transaction`. Every id must be set. `messages` and `outcomes` (one each) are
    /// borrowed until `done`, `context` is copied. May be called again with the same context and ids when in doubt.
    /// A message that this broker cannot hold as a half (`deliver_at` at a real RocketMQ) ends `rejected`.
    virtual void prepare(const HalfContext& context, std::span<const Message> messages, std::span<HalfOutcome> outcomes,
                         Done done) = 0;

    /// Says the verdict over all halves of the transaction; `halves` are the ones known to be stored (borrowed until
    /// `done`, as is `outcome`). Repeats itself until the broker answered or the adapter's deadline passed, where the
    /// broker takes repetitions; a real RocketMQ is told once. `reason` is kept with the decision.
    virtual void end(const HalfContext& context, std::span<const Half> halves, Verdict verdict, std::string_view reason,
                     EndOutcome& outcome, Done done) = 0;

    /// Says the verdict to the broker. From any thread, once; a second call does nothing, nor does one after the publisher
    /// has gone. Destroyed without a call: silence, which the broker does not count as a check.
    using Answer = std::function<void(Verdict, std::string reason)>;
    /// Called on a thread of the adapter: must return soon. Several may be out at once; more than the adapter's limit are
    /// answered with nothing, and the broker asks again.
    using OnCheck = std::function<void(Check, Answer)>;

    /// Registers this process at the brokers as one that answers for `group` and those of its `handlers` (empty: for
    /// checks without a handler), before it returns where brokers can be reached, at every connection after that where not.
    /// Once more for the same group: replaces. An empty `on_check`: answers no more for that group; when that returns,
    /// no call of the former function is running or will begin.
    virtual Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) = 0;
};

}  // namespace hufu::txmsg
