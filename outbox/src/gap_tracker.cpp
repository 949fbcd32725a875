#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/outbox/gap_tracker.hpp>

#include <algorithm>
#include <limits>

namespace hufu::outbox {

void GapTracker::start(const LaneStart& start) {
    holes_.clear();
    existence_ = false;
    commits_in_order_ = start.commits_in_order || mutant_active("naive_cursor");
    last_ = base_ = commits_in_order_ ? 0 : start.base;
    if (!commits_in_order_) enter_existence_mode(start.bound);
}

void GapTracker::enter_existence_mode(TransactionNumber bound) {
    holes_.clear();
    base_ = last_ = std::max(base_, last_);
    existence_ = true;
    existence_bound_ = bound;
    existence_generation_ = generation_;
}

void GapTracker::distrust() {
    if (commits_in_order_) {
        last_ = base_ = 0;  // read all again; what is known is passed over
    } else {
        enter_existence_mode(0);
    }
}

ReadRequest GapTracker::request(const SeqSet& known, std::size_t limit) const {
    ReadRequest request;
    request.after = last_;
    request.limit = limit;
    request.holes = holes();
    if (existence_) {
        request.upto = base_;
        request.skip = known.sorted(base_);
    }
    return request;
}

std::vector<std::size_t> GapTracker::take(const ReadRequest& request, const Page& page, const SeqSet& known) {
    HUFU_ASSERT(page.rows.size() <= request.limit);
    std::vector<std::size_t> fresh;
    fresh.reserve(page.rows.size());
    const bool full = page.rows.size() == request.limit;
    // What is visible up to here and was asked for is in the page.
    const Sequence covered = full ? page.rows.back().seq : std::numeric_limits<Sequence>::max();
    const bool nothing_above_base = last_ == base_;

    std::vector<Sequence> appeared;
    std::vector<Hole> found;
    bool too_many = false;
    for (std::size_t index = 0; index < page.rows.size(); ++index) {
        const Sequence seq = page.rows[index].seq;
        HUFU_ASSERT(index == 0 || seq > page.rows[index - 1].seq);
        if (seq > last_) {
            if (!commits_in_order_) {
                const Sequence first = std::max(last_, base_) + 1;
                // Compared as a count first: a sequence may have been set forward by any amount.
                const Sequence missing = std::max<Sequence>(seq - first, 0);
                too_many = too_many || static_cast<std::uint64_t>(missing) + found.size() + holes_.size() > holes_max_;
                if (!too_many) find_holes(first, seq, found);
            }
            last_ = seq;
        } else {
            appeared.push_back(seq);
        }
        if (!known.contains(seq)) fresh.push_back(index);
    }
    if (commits_in_order_) return fresh;

    std::erase_if(holes_, [&](const Hole& hole) {
        if (std::binary_search(appeared.begin(), appeared.end(), hole.seq)) return true;
        if (hole.seq > covered) return false;  // the page ended before it
        if (mutant_active("gap_forgotten_early")) return true;
        return hole.bound != 0 && page.xmin > hole.bound;
    });
    holes_.insert(holes_.end(), found.begin(), found.end());

    if (existence_ && existence_bound_ != 0 && page.xmin > existence_bound_) {
        // Nothing up to base can appear any more. What the page had no room for is read by position from here on; where
        // reading had gone above base already, only a page that was not full proves that nothing is left below.
        if (!full || covered >= last_) {
            existence_ = false;
        } else if (nothing_above_base) {
            existence_ = false;
            last_ = covered;
        }
    }
    if (too_many) enter_existence_mode(0);
    return fresh;
}

void GapTracker::find_holes(Sequence from, Sequence before, std::vector<Hole>& found) {
    for (Sequence seq = from; seq < before; ++seq) found.push_back({.seq = seq, .generation = generation_});
}

void GapTracker::settle_ended(std::uint64_t mark, TransactionNumber transaction) noexcept {
    if (transaction == 0) return;
    for (Hole& hole : holes_) {
        if (hole.bound == 0 && hole.generation <= mark) hole.bound = transaction;
    }
    if (existence_ && existence_bound_ == 0 && existence_generation_ <= mark) existence_bound_ = transaction;
}

bool GapTracker::needs_bound() const noexcept {
    // Holes are found in ascending order, so the last one is the youngest.
    return (existence_ && existence_bound_ == 0) || (!holes_.empty() && holes_.back().bound == 0);
}

std::vector<Sequence> GapTracker::holes() const {
    std::vector<Sequence> seqs;
    seqs.reserve(holes_.size());
    for (const Hole& hole : holes_) seqs.push_back(hole.seq);
    return seqs;
}

}  // namespace hufu::outbox
