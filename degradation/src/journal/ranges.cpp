#include "journal/ranges.hpp"

#include <algorithm>
#include <iterator>

namespace hufu::degradation::journal {

bool Ranges::add(std::uint64_t value) {
    if (contains(value)) return false;
    add(value, value);
    return true;
}

void Ranges::add(std::uint64_t first, std::uint64_t last) {
    auto at = ranges_.upper_bound(first);
    // One that touches from below joins.
    if (at != ranges_.begin() && std::prev(at)->second + 1 >= first) {
        --at;
        if (at->second >= last) return;
        if (std::next(at) == ranges_.end()) {  // the usual case: the highest range grows
            count_ += last - at->second;
            at->second = last;
            return;
        }
    }
    while (at != ranges_.end() && at->first <= last + 1) {
        first = std::min(first, at->first);
        last = std::max(last, at->second);
        count_ -= at->second - at->first + 1;
        at = ranges_.erase(at);
    }
    ranges_.emplace_hint(at, first, last);
    count_ += last - first + 1;
}

bool Ranges::remove(std::uint64_t value) {
    auto at = ranges_.upper_bound(value);
    if (at == ranges_.begin()) return false;
    --at;
    const auto [first, last] = *at;
    if (last < value) return false;
    if (value == last) {
        if (first == last) {
            ranges_.erase(at);
        } else {
            at->second = last - 1;
        }
    } else {
        // The range begins anew behind it.
        auto hint = ranges_.erase(at);
        hint = ranges_.emplace_hint(hint, value + 1, last);
        if (value > first) ranges_.emplace_hint(hint, first, value - 1);
    }
    --count_;
    return true;
}

bool Ranges::contains(std::uint64_t value) const {
    const auto at = ranges_.upper_bound(value);
    return at != ranges_.begin() && std::prev(at)->second >= value;
}

std::optional<std::uint64_t> Ranges::at_or_after(std::uint64_t value) const {
    const auto at = ranges_.upper_bound(value);
    if (at != ranges_.begin() && std::prev(at)->second >= value) return value;
    return at == ranges_.end() ? std::nullopt : std::optional{at->first};
}

std::uint64_t Ranges::count_in(std::uint64_t first, std::uint64_t last) const {
    std::uint64_t count = 0;
    auto at = ranges_.upper_bound(first);
    if (at != ranges_.begin()) --at;
    for (; at != ranges_.end() && at->first <= last; ++at) {
        const auto from = std::max(first, at->first);
        const auto to = std::min(last, at->second);
        if (from <= to) count += to - from + 1;
    }
    return count;
}

}  // namespace hufu::degradation::journal
