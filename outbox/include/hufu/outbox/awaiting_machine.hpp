// Re-sending what nobody has confirmed: the decisions.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>
#include <hufu/outbox/awaiting.hpp>

namespace hufu::outbox {

/// How overdue messages are sent again. What is sent how often is the message's own (`Receipts`).
struct AwaitingOptions {
    using Duration = std::chrono::milliseconds;

    std::size_t batch_rows = 500;  ///< most messages claimed at a time
    Duration hold{10'000};         ///< an attempt that was not confirmed by the broker is made again after so long
    Duration trust{2'000};         ///< what was claimed longer ago is not sent: its receipts may have come meanwhile
    Duration poll_min{50};
    Duration poll_max{1'000};
    RetrySchedule broker_retry = RetrySchedule::capped(Duration{200}, Duration{5'000}).jitter(0.2);  ///< it takes nothing
    RetrySchedule store_retry = RetrySchedule::capped(Duration{50}, Duration{2'000}).jitter(0.2);    ///< never exhausted
    double jitter = 0.2;                        ///< of the messages' waits, so that they do not come due together again
    Duration keep{std::chrono::hours{24 * 7}};  ///< how long the story of an ended message is kept; 0: for ever
    Duration forget_every{std::chrono::minutes{1}};
    std::size_t forget_rows = 2'000;
};

/// Checks that the numbers fit each other. The error names option, value and rule.
[[nodiscard]] Result<void> validate(const AwaitingOptions& options);

struct ClaimOverdue {
    std::size_t limit = 0;
    std::chrono::milliseconds hold{0};
};
struct ReportSent {
    std::vector<SentAgain> sent;
};
struct ParkAll {
    std::vector<ParkOverdue> parks;
};
struct ForgetEnded {
    std::chrono::milliseconds keep{0};
    std::size_t limit = 0;
};
using AwaitingRequest = std::variant<ClaimOverdue, ReportSent, ParkAll, ForgetEnded>;
struct AwaitingReply {
    Overdue overdue = {};         ///< to ClaimOverdue
    std::uint64_t forgotten = 0;  ///< to ForgetEnded
};

/// Calls the port. Blocking; the reply goes back into the machine.
[[nodiscard]] Result<AwaitingReply> perform(const AwaitingRequest& request, AwaitingRows& rows);

/// Messages to send again. The shell publishes them and hands the object back when every outcome is final.
struct ResendBatch {
    struct Ticket {
        MessageId id = {};
        std::uint32_t sends = 0;
        std::chrono::milliseconds deadline{0};
        std::chrono::milliseconds backoff_cap{0};
    };
    std::vector<Message> messages = {};
    std::vector<PublishOutcome> outcomes = {};
    std::vector<Ticket> tickets = {};
};

struct AwaitingActions {
    std::optional<AwaitingRequest> ask = {};
    std::unique_ptr<ResendBatch> publish = {};
    std::optional<SteadyTime> tick_at = {};  ///< call `step` again then, if nothing happens before
    bool finished = false;
};

struct AwaitingFigures {
    std::uint64_t resent = 0;  ///< messages handed to the publisher once more
    std::uint64_t confirmed = 0;
    std::uint64_t parked = 0;  ///< refused by the broker, or no receipt after the last wait
    std::uint64_t stale = 0;   ///< claimed and not sent, because the claim was too old
    std::uint64_t forgotten = 0;
    std::uint64_t store_errors = 0;
    Error last_error = {};
};

/// Claims what is overdue, has it sent with its own id, counts what the broker confirmed, parks what is exhausted or refused
/// by the broker. Owns no thread, socket or clock; used like `RelayMachine`.
///
/// Delivery: a message is never claimed after its receipts were complete, and never sent more than `trust` after its claim,
/// so no re-send begins later than that after the confirmation. A broker that is away costs no attempts. Any number of
/// machines may work on one book: a claim is one transaction.
///
/// Errors: retryable ones of the store are waited out; after a fatal one it finishes with `error()`.
class AwaitingMachine {
public:
    /// Borrows `random` for its life.
    AwaitingMachine(AwaitingOptions options, Random& random);

    void done(Result<AwaitingReply> reply, SteadyTime now);
    void published(std::unique_ptr<ResendBatch> batch, SteadyTime now);
    /// Claim nothing more, report what is known, finish.
    void stop() { stopping_ = true; }
    [[nodiscard]] AwaitingActions step(SteadyTime now);

    [[nodiscard]] const AwaitingFigures& figures() const noexcept { return figures_; }
    [[nodiscard]] const std::optional<Error>& error() const noexcept { return error_; }

private:
    [[nodiscard]] std::optional<AwaitingRequest> next_request(SteadyTime now, AwaitingActions& actions) const;
    void take_overdue(Overdue overdue, SteadyTime now);
    void failed(const Error& why, SteadyTime now);

    AwaitingOptions options_;
    Random& random_;
    AwaitingFigures figures_;
    std::optional<Error> error_;
    bool stopping_ = false;

    bool asking_ = false;  // one request outstanding at most
    AwaitingRequest request_ = ClaimOverdue{};
    SteadyTime asked_at_ = {};
    SteadyTime not_before_ = {};
    std::uint32_t store_failures_ = 0;
    std::uint32_t report_failures_ = 0;

    std::unique_ptr<ResendBatch> ready_;
    bool out_ = false;  // a batch is with the publisher
    std::uint32_t broker_failures_ = 0;
    SteadyTime next_claim_ = {};
    SteadyTime next_forget_ = {};
    std::vector<SentAgain> sent_;
    std::vector<ParkOverdue> parks_;
};

}  // namespace hufu::outbox
