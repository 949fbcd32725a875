#include "hole_watch.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>

namespace hufu::postgres {
namespace {

using outbox::Sequence;
using outbox::TransactionNumber;

/// Snapshots in which a hole's possible owners stay the same before it counts as quiet: short transactions come and go
/// in fewer.
constexpr std::uint32_t quiet_after = 16;

bool contains(std::span<const Sequence> ascending, Sequence seq) {
    return std::binary_search(ascending.begin(), ascending.end(), seq);
}

/// Takes a number and the separator behind it off the front.
bool take(std::string_view& text, TransactionNumber& number) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
    return true;
}

}  // namespace

Result<Snapshot> Snapshot::parse(std::string_view text) {
    Snapshot snapshot;
    std::string_view rest = text;
    bool good = take(rest, snapshot.xmin) && take(rest, snapshot.xmax);
    while (good && !rest.empty()) {
        TransactionNumber number = 0;
        good = take(rest, number);
        if (good) snapshot.running.push_back(number);
    }
    if (!good) {
        return Error{ErrorCode::protocol, Disposition::fatal,
                     "PostgreSQL sent a snapshot that is none: \"" + std::string{text} + "\""};
    }
    return snapshot;
}

bool Snapshot::has_ended(TransactionNumber number) const {
    return number < xmax && !std::binary_search(running.begin(), running.end(), number);
}

std::uint64_t SettleMarks::begin() {
    const std::lock_guard lock{mutex_};
    return ++begun_;
}

void SettleMarks::end(std::uint64_t mark, TransactionNumber transaction) {
    const std::lock_guard lock{mutex_};
    if (mark <= ended_) return;
    ended_ = mark;
    transaction_ = transaction;
}

std::uint64_t SettleMarks::begun() const {
    const std::lock_guard lock{mutex_};
    return begun_;
}

TransactionNumber SettleMarks::after(std::uint64_t mark) const {
    const std::lock_guard lock{mutex_};
    return ended_ > mark ? transaction_ : 0;
}

void HoleWatch::forget() {
    watched_.clear();
    quiet_.clear();
    owners_.clear();
}

std::vector<Sequence> HoleWatch::loud(std::span<const Sequence> holes) const {
    std::vector<Sequence> asked;
    std::set_difference(holes.begin(), holes.end(), quiet_.begin(), quiet_.end(), std::back_inserter(asked));
    return asked;
}

bool HoleWatch::may_skip(const Snapshot& snapshot) const {
    return std::none_of(owners_.begin(), owners_.end(), [&](TransactionNumber owner) { return snapshot.has_ended(owner); });
}

void HoleWatch::watch(Watched& hole, const Snapshot& snapshot) const {
    if (!hole.owners_known) {
        const TransactionNumber bound = marks_->after(hole.mark);
        if (bound == 0 || snapshot.xmax < bound) return;
        hole.owners_known = true;
        hole.owners.assign(snapshot.running.begin(),
                           std::lower_bound(snapshot.running.begin(), snapshot.running.end(), bound));
        return;
    }
    const auto struck_off = std::erase_if(hole.owners, [&](TransactionNumber owner) { return snapshot.has_ended(owner); });
    hole.unchanged = struck_off == 0 ? hole.unchanged + 1 : 0;
}

void HoleWatch::taken(const Snapshot& snapshot, std::span<const Sequence> holes, std::span<const Sequence> asked,
                      std::span<const Sequence> found) {
    // What the relay no longer asks for, it has found or given up.
    std::vector<Sequence> still_asked;
    std::set_intersection(quiet_.begin(), quiet_.end(), holes.begin(), holes.end(), std::back_inserter(still_asked));
    quiet_.clear();
    std::set_difference(still_asked.begin(), still_asked.end(), found.begin(), found.end(), std::back_inserter(quiet_));
    std::erase_if(watched_,
                  [&](const auto& entry) { return !contains(asked, entry.first) || contains(found, entry.first); });
    std::erase_if(owners_, [&](TransactionNumber owner) { return snapshot.has_ended(owner); });
    std::vector<Sequence> now_quiet;
    for (const Sequence seq : asked) {
        if (contains(found, seq) || contains(quiet_, seq)) continue;
        const auto [entry, is_new] = watched_.try_emplace(seq, Watched{.mark = marks_->begun()});
        if (is_new) continue;
        Watched& hole = entry->second;
        watch(hole, snapshot);
        if (hole.unchanged < quiet_after) continue;
        std::vector<TransactionNumber> all;
        std::set_union(owners_.begin(), owners_.end(), hole.owners.begin(), hole.owners.end(), std::back_inserter(all));
        owners_ = std::move(all);
        now_quiet.push_back(seq);
        watched_.erase(entry);
    }
    const auto middle = static_cast<std::ptrdiff_t>(quiet_.size());
    quiet_.insert(quiet_.end(), now_quiet.begin(), now_quiet.end());
    std::inplace_merge(quiet_.begin(), quiet_.begin() + middle, quiet_.end());
}

}  // namespace hufu::postgres
