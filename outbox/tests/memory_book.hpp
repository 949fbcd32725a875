// The book of receipts in memory, for unit tests and the simulation: what the adapters' transactions do, in one call each.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/core/mutant.hpp>
#include <hufu/outbox/awaiting.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox::testing {

/// The tables. Not thread-safe.
class MemoryBook {
public:
    struct Row {
        Message message = {};
        Receipts asked = {};
        std::map<std::string, Receipt::Outcome> words = {};
        std::optional<SystemTime> due_at = {};
        std::uint32_t sends = 0;
        std::optional<std::string> parked = {};
        std::string state = "open";  // open, completed
        SystemTime ended_at = {};
    };

    explicit MemoryBook(std::function<SystemTime()> now) : now_{std::move(now)} {}

    std::map<MessageId, Row> rows;
    std::function<void(const MessageId&)> on_completed = [](const MessageId&) {};

    /// In the transaction of the lane row.
    void append(const Message& message, const Receipts& asked) {
        rows[message.id] = {.message = with_receipts(message, asked), .asked = asked};
    }
    /// In the transaction of the settle.
    void start(std::span<const MessageId> ids) {
        for (const auto& id : ids) {
            const auto found = rows.find(id);
            if (found == rows.end() || found->second.state != "open" || found->second.parked || found->second.due_at)
                continue;
            found->second.due_at = now_() + found->second.asked.deadline;
            found->second.sends = 1;
        }
    }

    std::vector<ReceiptVerdict> take(std::span<const Receipt> receipts) {
        std::vector<ReceiptVerdict> verdicts;
        for (const Receipt& receipt : receipts) verdicts.push_back(take_one(receipt));
        return verdicts;
    }

    Overdue claim(std::size_t limit, std::chrono::milliseconds hold) {
        Overdue overdue;
        const auto now = now_();
        for (auto& [id, row] : rows) {
            const bool ended = row.state != "open" && !mutant_active("claim_forgets_completion");
            if (!row.due_at || row.parked || ended) continue;
            if (*row.due_at <= now && overdue.messages.size() < limit) {
                row.due_at = now + hold;
                overdue.messages.push_back({row.message, row.asked, row.sends, missing(row)});
                continue;
            }
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(*row.due_at - now);
            overdue.next_due_in = std::min(overdue.next_due_in.value_or(left), left);
        }
        return overdue;
    }
    void sent_again(std::span<const SentAgain> sent) {
        for (const auto& [id, wait] : sent) {
            const auto found = rows.find(id);
            if (found == rows.end() || found->second.state != "open" || !found->second.due_at) continue;
            ++found->second.sends;
            found->second.due_at = now_() + wait;
        }
    }
    void park(std::span<const ParkOverdue> parks) {
        for (const auto& [id, reason] : parks) {
            const auto found = rows.find(id);
            if (found == rows.end() || found->second.state != "open" || found->second.parked) continue;
            found->second.parked = reason;
            found->second.due_at.reset();
        }
    }
    std::uint64_t resend(const MessageId& id) {
        const auto found = rows.find(id);
        if (found == rows.end() || found->second.state != "open") return 0;
        Row& row = found->second;
        if (!row.parked && !row.due_at) return 0;
        row.parked.reset();
        row.sends = 0;
        row.due_at = now_();
        return 1;
    }
    std::uint64_t forget(std::chrono::milliseconds keep) {
        return std::erase_if(
            rows, [&](const auto& entry) { return entry.second.state != "open" && entry.second.ended_at < now_() - keep; });
    }
    static std::vector<std::string> missing(const Row& row) {
        std::vector<std::string> groups;
        for (const auto& group : row.asked.groups) {
            const auto word = row.words.find(group);
            if (word == row.words.end() || word->second != Receipt::Outcome::done) groups.push_back(group);
        }
        return groups;
    }

private:
    ReceiptVerdict take_one(const Receipt& receipt) {
        const auto found = rows.find(receipt.message);
        if (found == rows.end()) return ReceiptVerdict::unknown_message;
        Row& row = found->second;
        const auto& groups = row.asked.groups;
        if (std::find(groups.begin(), groups.end(), receipt.group) == groups.end()) return ReceiptVerdict::unknown_group;
        const auto [word, fresh] = row.words.try_emplace(receipt.group, receipt.outcome);
        const bool better = word->second == Receipt::Outcome::refused && receipt.outcome == Receipt::Outcome::done;
        if (!fresh && !better) return ReceiptVerdict::duplicate;
        word->second = receipt.outcome;
        if (receipt.outcome == Receipt::Outcome::refused) {
            row.parked = receipt.group + " refused: " + receipt.reason;
            row.due_at.reset();
            return ReceiptVerdict::parked;
        }
        // Seeded bug: the first group's word is taken for everybody's.
        if (!missing(row).empty() && !mutant_active("first_receipt_completes")) return ReceiptVerdict::taken;
        row.state = "completed";
        row.ended_at = now_();
        row.parked.reset();
        if (!mutant_active("claim_forgets_completion")) row.due_at.reset();
        on_completed(receipt.message);
        return ReceiptVerdict::completed;
    }

    std::function<SystemTime()> now_;
};

/// The port on a book that somebody else owns, under that one's lock.
class MemoryAwaiting final : public AwaitingRows {
public:
    MemoryAwaiting(MemoryBook& book, std::recursive_mutex& mutex) : book_{book}, mutex_{mutex} {}
    Result<std::vector<ReceiptVerdict>> take(std::span<const Receipt> receipts) override {
        const std::lock_guard lock{mutex_};
        if (fail_next) return *std::exchange(fail_next, std::nullopt);
        return book_.take(receipts);
    }
    Result<Overdue> claim_overdue(std::size_t limit, std::chrono::milliseconds hold) override {
        const std::lock_guard lock{mutex_};
        return book_.claim(limit, hold);
    }
    Result<void> sent_again(std::span<const SentAgain> sent) override {
        const std::lock_guard lock{mutex_};
        book_.sent_again(sent);
        return {};
    }
    Result<void> park_overdue(std::span<const ParkOverdue> parks) override {
        const std::lock_guard lock{mutex_};
        book_.park(parks);
        return {};
    }
    Result<std::uint64_t> forget(std::chrono::milliseconds keep, std::size_t) override {
        const std::lock_guard lock{mutex_};
        return book_.forget(keep);
    }
    Result<std::vector<LifeStory>> trace(const AwaitedSelection& selection, std::size_t) override {
        return no_such_message(selection);
    }
    Result<std::uint64_t> resend(const AwaitedSelection& selection, const AuditNote&) override {
        const std::lock_guard lock{mutex_};
        return selection.id ? book_.resend(*selection.id) : std::uint64_t{0};
    }

    std::optional<Error> fail_next;  ///< the next `take` fails without effect

private:
    MemoryBook& book_;
    std::recursive_mutex& mutex_;
};

}  // namespace hufu::outbox::testing
