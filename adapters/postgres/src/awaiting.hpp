// The book of receipts on PostgreSQL.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <hufu/outbox/awaiting.hpp>
#include <hufu/outbox/store.hpp>

#include "session.hpp"

namespace hufu::postgres {

class Awaiting final : public outbox::AwaitingRows {
public:
    explicit Awaiting(Session session) : session_{std::move(session)} {}
    Result<std::vector<outbox::ReceiptVerdict>> take(std::span<const outbox::Receipt> receipts) override;
    Result<outbox::Overdue> claim_overdue(std::size_t limit, std::chrono::milliseconds hold) override;
    Result<void> sent_again(std::span<const outbox::SentAgain> sent) override;
    Result<void> park_overdue(std::span<const outbox::ParkOverdue> parks) override;
    Result<std::uint64_t> forget(std::chrono::milliseconds keep, std::size_t limit) override;
    Result<std::vector<outbox::LifeStory>> trace(const outbox::AwaitedSelection& selection, std::size_t limit) override;
    Result<std::uint64_t> resend(const outbox::AwaitedSelection& selection, const outbox::AuditNote& note) override;

private:
    Result<void> tell(outbox::LifeStory& story);
    Session session_;
};

}  // namespace hufu::postgres
