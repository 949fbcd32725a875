// Which holes of the lane a read may leave out because nothing can have happened to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::postgres {

/// What pg_current_snapshot() says: everything below xmin has ended, everything from xmax on counts as running, between
/// them `running` (ascending) is running. Top-level transactions only, prepared ones included.
struct Snapshot {
    outbox::TransactionNumber xmin = 0;
    outbox::TransactionNumber xmax = 0;
    std::vector<outbox::TransactionNumber> running = {};

    /// Reads "xmin:xmax:a,b,c".
    static Result<Snapshot> parse(std::string_view text);
    [[nodiscard]] bool has_ended(outbox::TransactionNumber number) const;
};

/// Transaction numbers that the settler draws, as upper bounds for whatever happened before. Thread-safe.
class SettleMarks {
public:
    /// A settle begins: its number will be above that of every transaction that has one now.
    [[nodiscard]] std::uint64_t begin();
    void end(std::uint64_t mark, outbox::TransactionNumber transaction);

    [[nodiscard]] std::uint64_t begun() const;
    /// The number of a settle that began after `mark` settles had begun; 0 while there is none.
    [[nodiscard]] outbox::TransactionNumber after(std::uint64_t mark) const;

private:
    mutable std::mutex mutex_;
    std::uint64_t begun_ = 0;                    // guarded by mutex_
    std::uint64_t ended_ = 0;                    // guarded by mutex_: the latest mark that has a number
    outbox::TransactionNumber transaction_ = 0;  // guarded by mutex_: its number
};

/// A hole belongs to a transaction that ran when the hole was found. Beside a transaction held open for hours every
/// rollback leaves a hole that cannot be told from one of its own, and asking for thousands of them in every read
/// would cost more than the rows. But a row appears in a hole only when its transaction ends: so a hole is `quiet` while
/// all transactions that it can belong to go on running, and a read whose snapshot shows them running need not ask for it.
///
/// How the possible owners are known: a settle that begins after the hole was first asked for draws a number above the
/// owner's; a snapshot whose xmax is not below that number lists every running transaction that the hole can belong to;
/// every later snapshot strikes off those that have ended.
///
/// A plain state machine for one reader's connection; borrows the marks.
class HoleWatch {
public:
    explicit HoleWatch(const SettleMarks& marks) : marks_{&marks} {}

    void forget();
    /// Those of `holes` (ascending) that the next read has to ask for.
    [[nodiscard]] std::vector<outbox::Sequence> loud(std::span<const outbox::Sequence> holes) const;
    /// Whether leaving the quiet ones out of a read with this snapshot was right; if not, read again and ask for all.
    [[nodiscard]] bool may_skip(const Snapshot& snapshot) const;
    /// A read has asked for `asked` (ascending) of the `holes`, and found `found` (ascending) of them.
    void taken(const Snapshot& snapshot, std::span<const outbox::Sequence> holes, std::span<const outbox::Sequence> asked,
               std::span<const outbox::Sequence> found);

    [[nodiscard]] std::size_t quiet_count() const noexcept { return quiet_.size(); }

private:
    struct Watched {
        std::uint64_t mark = 0;
        bool owners_known = false;
        std::uint32_t unchanged = 0;  ///< snapshots in a row that struck off no owner
        std::vector<outbox::TransactionNumber> owners = {};
    };
    void watch(Watched& hole, const Snapshot& snapshot) const;

    const SettleMarks* marks_;
    std::map<outbox::Sequence, Watched> watched_;
    std::vector<outbox::Sequence> quiet_;            // ascending
    std::vector<outbox::TransactionNumber> owners_;  // ascending: who the quiet ones can belong to
};

}  // namespace hufu::postgres
