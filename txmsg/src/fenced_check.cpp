#include <hufu/txmsg/fenced_check.hpp>

#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::txmsg {
namespace {

constexpr int runs_max = 3;

}  // namespace

SystemTime begun_at(const TransactionId& transaction) noexcept {
    return transaction.bytes()[6] >> 4 == 7 ? transaction.minted_at() : SystemTime{};
}

FencedCheck::FencedCheck(const TransactionId& transaction) : transaction_{transaction} {}

void FencedCheck::done() {
    switch (next_) {
        case FencedAction::begin:
            open_ = true;
            // Seeded bug: looks without leaving a tombstone, so a local transaction that is still running commits later.
            next_ = mutant_active("unfenced_check") ? FencedAction::read : FencedAction::insert_tombstone;
            return;
        case FencedAction::commit: open_ = false; break;
        case FencedAction::roll_back:
            open_ = false;
            if (std::exchange(again_, false)) {
                next_ = FencedAction::begin;
                return;
            }
            break;
        default: HUFU_ASSERT(!"done() answers begin, commit and roll_back only");
    }
    next_ = FencedAction::finished;
}

void FencedCheck::inserted(Tombstone answer) {
    HUFU_ASSERT(next_ == FencedAction::insert_tombstone);
    switch (answer) {
        case Tombstone::inserted:
            tombstone_ = true;
            next_ = FencedAction::read;
            return;
        case Tombstone::present: next_ = FencedAction::read; return;
        case Tombstone::locked: return end_with(Seen::ongoing);
        case Tombstone::again: break;
    }
    if (runs_ == runs_max) {
        return end_with(Seen::ongoing);
    }
    ++runs_;
    again_ = true;
    next_ = FencedAction::roll_back;
}

bool FencedCheck::maybe_purged(SystemTime watermark) const {
    // Seeded bug: a row that was purged is taken for one that never was.
    return !mutant_active("tombstone_after_cleanup") && begun_at(transaction_) < watermark;
}

void FencedCheck::seen(const VerdictRow& row) {
    HUFU_ASSERT(next_ == FencedAction::read);
    if (tombstone_) {
        if (maybe_purged(row.watermark)) {
            return end_with(Seen::beyond_retention);
        }
        outcome_ = Seen::rolled_back;
        next_ = FencedAction::commit;
        return;
    }
    if (row.verdict == Verdict::commit) {
        return end_with(Seen::committed);
    }
    if (row.verdict == Verdict::rollback || mutant_active("unfenced_check")) {
        return end_with(Seen::rolled_back);
    }
    end_with(Seen::ongoing);  // the row went between the two statements: purged just now; the next check knows
}

void FencedCheck::failed(Error error) { end_with(std::move(error)); }

void FencedCheck::end_with(Result<Seen> outcome) {
    outcome_ = std::move(outcome);
    next_ = open_ ? FencedAction::roll_back : FencedAction::finished;
    // A COMMIT that failed has ended the transaction, one way or the other.
}

Result<Seen> run_check(FencedCheck check, VerdictRows& rows) {
    const auto answer = [&check](const Result<void>& result) { result ? check.done() : check.failed(result.error()); };
    for (;;) {
        switch (check.next()) {
            case FencedAction::begin: answer(rows.begin()); break;
            case FencedAction::insert_tombstone: {
                const auto inserted = rows.insert_tombstone(check.transaction());
                inserted ? check.inserted(*inserted) : check.failed(inserted.error());
                break;
            }
            case FencedAction::read: {
                const auto row = rows.read(check.transaction());
                row ? check.seen(*row) : check.failed(row.error());
                break;
            }
            case FencedAction::commit: answer(rows.commit()); break;
            case FencedAction::roll_back:
                rows.roll_back();
                check.done();
                break;
            case FencedAction::finished: return check.outcome();
        }
    }
}

}  // namespace hufu::txmsg
