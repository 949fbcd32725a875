// The book of receipts on SQLite.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <hufu/outbox/awaiting.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// Part of a settle: these were sent, their receipts are due after their deadlines. Those that ended, or are parked for good,
/// are passed over.
void start_awaiting(Transaction& tx, std::span<const MessageId> ids);
/// Part of a discard, before the rows are deleted: what is discarded waits for no receipts any more.
void end_discarded(Transaction& tx, const outbox::ParkedSelection& selection);

class Awaiting final : public outbox::AwaitingRows {
public:
    explicit Awaiting(std::shared_ptr<Database> database) : database_{std::move(database)} {}
    Result<std::vector<outbox::ReceiptVerdict>> take(std::span<const outbox::Receipt> receipts) override;
    Result<outbox::Overdue> claim_overdue(std::size_t limit, std::chrono::milliseconds hold) override;
    Result<void> sent_again(std::span<const outbox::SentAgain> sent) override;
    Result<void> park_overdue(std::span<const outbox::ParkOverdue> parks) override;
    Result<std::uint64_t> forget(std::chrono::milliseconds keep, std::size_t limit) override;
    Result<std::vector<outbox::LifeStory>> trace(const outbox::AwaitedSelection& selection, std::size_t limit) override;
    Result<std::uint64_t> resend(const outbox::AwaitedSelection& selection, const outbox::AuditNote& note) override;

private:
    std::shared_ptr<Database> database_;
};

/// The groups of `groups` (joined by commas) that have not confirmed, in this transaction.
[[nodiscard]] std::vector<std::string> missing_groups(Transaction& tx, const MessageId& id, std::string_view groups);
[[nodiscard]] std::vector<std::string> split_groups(std::string_view groups);

}  // namespace hufu::sqlite
