#include <hufu/outbox/awaiting_machine.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::outbox {
namespace {

constexpr std::uint32_t report_failures_at_stop = 3;

std::string exhausted(const OverdueMessage& message) {
    std::string text = "no receipt from ";
    for (std::size_t at = 0; at < message.missing.size(); ++at) text += (at == 0 ? "" : ", ") + message.missing[at];
    return text + " after " + std::to_string(message.sends) + " sends";
}

}  // namespace

Result<void> validate(const AwaitingOptions& options) {
    const auto refused = [](const std::string& text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, "receipts: " + text};
    };
    if (options.batch_rows == 0 || options.forget_rows == 0) return refused("batch_rows and forget_rows must be positive");
    if (options.trust.count() <= 0 || options.hold < options.trust) {
        return refused("hold (" + std::to_string(options.hold.count()) + " ms) must be at least trust (" +
                       std::to_string(options.trust.count()) + " ms), which must be positive");
    }
    if (options.poll_min.count() <= 0 || options.poll_max < options.poll_min) {
        return refused("poll_min must be positive and at most poll_max");
    }
    return {};
}

Result<AwaitingReply> perform(const AwaitingRequest& request, AwaitingRows& rows) {
    AwaitingReply reply;
    if (const auto* claim = std::get_if<ClaimOverdue>(&request)) {
        auto overdue = rows.claim_overdue(claim->limit, claim->hold);
        if (!overdue) return overdue.error();
        reply.overdue = std::move(*overdue);
    } else if (const auto* report = std::get_if<ReportSent>(&request)) {
        if (auto noted = rows.sent_again(report->sent); !noted) return noted.error();
    } else if (const auto* park = std::get_if<ParkAll>(&request)) {
        if (auto parked = rows.park_overdue(park->parks); !parked) return parked.error();
    } else {
        const auto& forget = std::get<ForgetEnded>(request);
        auto gone = rows.forget(forget.keep, forget.limit);
        if (!gone) return gone.error();
        reply.forgotten = *gone;
    }
    return reply;
}

AwaitingMachine::AwaitingMachine(AwaitingOptions options, Random& random) : options_{std::move(options)}, random_{random} {
    HUFU_ASSERT(validate(options_).has_value());
}

AwaitingActions AwaitingMachine::step(SteadyTime now) {
    AwaitingActions actions;
    if (ready_ && !out_) {
        out_ = true;
        figures_.resent += ready_->messages.size();
        actions.publish = std::move(ready_);
    }
    if (!asking_) {
        if (auto request = next_request(now, actions)) {
            asking_ = true;
            asked_at_ = now;
            request_ = *request;
            actions.ask = std::move(request);
        }
    }
    const bool told = (sent_.empty() && parks_.empty()) || report_failures_ >= report_failures_at_stop || error_;
    actions.finished = stopping_ && !asking_ && !out_ && told;
    return actions;
}

std::optional<AwaitingRequest> AwaitingMachine::next_request(SteadyTime now, AwaitingActions& actions) const {
    if (error_) return std::nullopt;
    if (now < not_before_) {
        actions.tick_at = not_before_;
        return std::nullopt;
    }
    if (!sent_.empty()) return ReportSent{sent_};
    if (!parks_.empty()) return ParkAll{parks_};
    if (stopping_ || out_) return std::nullopt;
    if (now >= next_claim_) return ClaimOverdue{.limit = options_.batch_rows, .hold = options_.hold};
    actions.tick_at = next_claim_;
    if (options_.keep.count() > 0) {
        if (now >= next_forget_) return ForgetEnded{.keep = options_.keep, .limit = options_.forget_rows};
        actions.tick_at = std::min(next_claim_, next_forget_);
    }
    return std::nullopt;
}

void AwaitingMachine::done(Result<AwaitingReply> reply, SteadyTime now) {
    HUFU_ASSERT(asking_);
    asking_ = false;
    const bool reports = std::holds_alternative<ReportSent>(request_) || std::holds_alternative<ParkAll>(request_);
    if (reply.has_error()) {
        if (reports) ++report_failures_;
        return failed(reply.error(), now);
    }
    store_failures_ = 0;
    if (reports) report_failures_ = 0;
    if (const auto* report = std::get_if<ReportSent>(&request_)) {
        sent_.erase(sent_.begin(), sent_.begin() + static_cast<std::ptrdiff_t>(report->sent.size()));
    } else if (const auto* park = std::get_if<ParkAll>(&request_)) {
        figures_.parked += park->parks.size();
        parks_.erase(parks_.begin(), parks_.begin() + static_cast<std::ptrdiff_t>(park->parks.size()));
    } else if (std::holds_alternative<ForgetEnded>(request_)) {
        figures_.forgotten += reply->forgotten;
        next_forget_ = reply->forgotten >= options_.forget_rows ? now : now + options_.forget_every;
    } else {
        take_overdue(std::move(reply->overdue), now);
    }
}

void AwaitingMachine::take_overdue(Overdue overdue, SteadyTime now) {
    const bool full = overdue.messages.size() >= options_.batch_rows;
    const auto pause = std::clamp(overdue.next_due_in.value_or(options_.poll_max), options_.poll_min, options_.poll_max);
    next_claim_ = full ? now : now + pause;
    // A process that stood still may hold a claim from before the confirmation.
    const bool stale = now - asked_at_ > options_.trust && !mutant_active("stale_claim_sent");
    if (stopping_ || stale) {
        figures_.stale += overdue.messages.size();
        return;
    }
    auto batch = std::make_unique<ResendBatch>();
    for (OverdueMessage& message : overdue.messages) {
        if (message.sends >= message.asked.sends_max) {
            parks_.push_back({message.message.id, exhausted(message)});
            continue;
        }
        batch->tickets.push_back({.id = message.message.id,
                                  .sends = message.sends,
                                  .deadline = message.asked.deadline,
                                  .backoff_cap = message.asked.backoff_cap});
        message.message.headers.set(resend_header, std::to_string(message.sends));
        batch->messages.push_back(std::move(message.message));
    }
    if (batch->messages.empty()) return;
    batch->outcomes.resize(batch->messages.size());
    ready_ = std::move(batch);
}

void AwaitingMachine::published(std::unique_ptr<ResendBatch> batch, SteadyTime now) {
    HUFU_ASSERT(out_);
    out_ = false;
    bool any = false;
    for (std::size_t at = 0; at < batch->tickets.size(); ++at) {
        const ResendBatch::Ticket& ticket = batch->tickets[at];
        const PublishOutcome& outcome = batch->outcomes[at];
        if (outcome.status == PublishStatus::confirmed || mutant_active("outage_counts_as_send")) {
            any = true;
            ++figures_.confirmed;
            const auto waits = RetrySchedule::capped(ticket.deadline, ticket.backoff_cap).jitter(options_.jitter);
            sent_.push_back({ticket.id, waits.wait_after(ticket.sends + 1, random_).value_or(ticket.backoff_cap)});
            continue;
        }
        figures_.last_error = outcome.error;
        if (outcome.status == PublishStatus::rejected) {
            any = true;
            parks_.push_back({ticket.id, "the broker refuses it: " + outcome.error.text()});
        }
    }
    if (any) {
        broker_failures_ = 0;
        return;
    }
    ++broker_failures_;
    next_claim_ = std::max(
        next_claim_,
        now + options_.broker_retry.wait_after(broker_failures_, random_).value_or(std::chrono::milliseconds{5'000}));
}

void AwaitingMachine::failed(const Error& why, SteadyTime now) {
    ++figures_.store_errors;
    figures_.last_error = why;
    ++store_failures_;
    not_before_ = now + options_.store_retry.wait_after(store_failures_, random_).value_or(std::chrono::milliseconds{2'000});
    if (why.disposition() == Disposition::fatal || why.disposition() == Disposition::reject) {
        error_ = why;
        stopping_ = true;
    }
}

}  // namespace hufu::outbox
