// Which rows may still appear behind the reader.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <hufu/outbox/seq_set.hpp>
#include <hufu/outbox/store.hpp>

namespace hufu::outbox {

/// Position of a reader in a lane whose transactions commit out of sequence order. No row is lost, none of a key is
/// overtaken, and nothing waits for long transactions.
///
/// A number below the position that was never seen is a *hole*. Its writer's transaction number is below that of any
/// transaction begun after the hole was found; the next settle reports its own, which becomes the hole's bound. A hole
/// that a later snapshot does not show although every transaction up to the bound has ended was rolled back and is
/// forgotten. Where holes cannot be listed (at the start, after a takeover, above the cap) the tracker is in *existence
/// mode*: it asks for every row up to `base` that is not known, lowest first, until the snapshot shows that everything up
/// to base has ended.
///
/// A plain state machine: no thread, no I/O.
class GapTracker {
public:
    explicit GapTracker(std::size_t holes_max) : holes_max_{holes_max} {}

    /// Forgets everything and begins anew.
    void start(const LaneStart& start);

    /// The next read. `known` are the rows read and not yet gone from the lane.
    [[nodiscard]] ReadRequest request(const SeqSet& known, std::size_t limit) const;

    /// Takes the page that answers `request`; returns which of its rows are new (indexes into page.rows, ascending).
    [[nodiscard]] std::vector<std::size_t> take(const ReadRequest& request, const Page& page, const SeqSet& known);

    /// A settle is sent now; give the mark back with its transaction number.
    [[nodiscard]] std::uint64_t settle_begins() noexcept { return generation_++; }
    void settle_ended(std::uint64_t mark, TransactionNumber transaction) noexcept;
    /// Some hole waits for its bound: a settle should happen, if need be an empty one.
    [[nodiscard]] bool needs_bound() const noexcept;

    /// The safety net found rows that were passed over: look at everything again.
    void distrust();

    [[nodiscard]] bool commits_in_order() const noexcept { return commits_in_order_; }
    [[nodiscard]] bool in_existence_mode() const noexcept { return existence_; }
    [[nodiscard]] Sequence last() const noexcept { return last_; }
    [[nodiscard]] std::size_t hole_count() const noexcept { return holes_.size(); }
    [[nodiscard]] std::vector<Sequence> holes() const;

private:
    struct Hole {
        Sequence seq = 0;
        std::uint64_t generation = 0;
        TransactionNumber bound = 0;  // 0: not known yet
    };

    void enter_existence_mode(TransactionNumber bound);
    void find_holes(Sequence from, Sequence before, std::vector<Hole>& found);

    std::size_t holes_max_;
    bool commits_in_order_ = true;
    Sequence last_ = 0;  // highest number read, or at least base_ in existence mode
    Sequence base_ = 0;  // numbers up to here are no holes: existence mode has dealt with them
    bool existence_ = false;
    TransactionNumber existence_bound_ = 0;  // 0: not known yet
    std::uint64_t existence_generation_ = 0;
    std::uint64_t generation_ = 1;
    std::vector<Hole> holes_;  // ascending
};

}  // namespace hufu::outbox
