#include "timer_book.hpp"

#include <algorithm>
#include <charconv>
#include <functional>

#include <hufu/core/assert.hpp>

namespace hufu::broker {
namespace {

constexpr std::size_t parts_max = 16;
constexpr std::int64_t hold_ms = 1000;  // a step back up to this makes new timers late by at most as much

/// Appends "number " to `text`.
template <class Number>
void write_number(std::string& text, Number number) {
    char digits[24];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr).append(1, ' ');
}

template <class Number>
bool take_number(std::string_view& text, Number& into) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
    const auto read = static_cast<std::size_t>(end - text.data());
    if (fault != std::errc{} || read >= text.size() || text[read] != ' ') return false;
    text.remove_prefix(read + 1);
    return true;
}

}  // namespace

bool TimerProgress::covers(const Timer& timer) const noexcept {
    return timer <= const_cast<TimerProgress*>(this)->part_of(timer.offset).last;
}

TimerProgress::Part& TimerProgress::part_of(std::uint64_t offset) noexcept {
    std::size_t at = parts.size() - 1;
    while (at > 0 && parts[at].start > offset) --at;
    return parts[at];
}

std::string TimerProgress::encode() const {
    std::string text;
    write_number(text, low);
    write_number(text, recalls_low);
    for (const Part& part : parts) {
        write_number(text, part.start);
        write_number(text, part.last.due_ms);
        write_number(text, part.last.offset);
    }
    return text;
}

std::optional<TimerProgress> TimerProgress::decode(std::string_view text) {
    TimerProgress progress;
    progress.parts.clear();
    if (!take_number(text, progress.low) || !take_number(text, progress.recalls_low)) return std::nullopt;
    while (!text.empty()) {
        Part part;
        if (!take_number(text, part.start) || !take_number(text, part.last.due_ms) || !take_number(text, part.last.offset))
            return std::nullopt;
        progress.parts.push_back(part);
    }
    if (progress.parts.empty()) return std::nullopt;
    return progress;
}

void TimerBook::restore(const Timer& timer) {
    if (!progress_.covers(timer)) heap_.push_back(timer);
}

void TimerBook::restored() {
    // Recalls of what is pending are all that matters.
    std::unordered_map<std::uint64_t, std::uint64_t> live;
    if (!recalled_.empty()) {
        for (const Timer& timer : heap_)
            if (const auto found = recalled_.find(timer.offset); found != recalled_.end()) live.insert(*found);
    }
    recalled_ = std::move(live);
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
}

TimerBook::Admission TimerBook::admit(std::int64_t due_ms, std::int64_t now_ms) const noexcept {
    const std::int64_t reached = progress_.parts.back().last.due_ms;
    if (due_ms > reached) return {due_ms, false};
    if (reached <= now_ms + hold_ms || progress_.parts.size() >= parts_max) return {reached, false};
    return {due_ms, true};
}

void TimerBook::begin_part(std::uint64_t offset) {
    progress_.parts.emplace_back();
    progress_.parts.back().start = offset;
}

void TimerBook::add(const Timer& timer) {
    heap_.push_back(timer);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
}

Timer TimerBook::take_next() {
    HUFU_ASSERT(!heap_.empty());
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
    const Timer timer = heap_.back();
    heap_.pop_back();
    // A burst's memory goes back once it is over.
    if (heap_.capacity() > 65'536 && heap_.size() < heap_.capacity() / 4) heap_.shrink_to_fit();
    return timer;
}

void TimerBook::passed(const Timer& timer) noexcept {
    Timer& last = progress_.part_of(timer.offset).last;
    last = std::max(last, timer);
}

void TimerBook::put_back(std::span<const Timer> timers) {
    for (const Timer& timer : timers) add(timer);
}

std::vector<Timer> TimerBook::live_below(std::uint64_t offset) const {
    std::vector<Timer> live;
    for (const Timer& timer : heap_)
        if (timer.offset < offset && !is_recalled(timer.offset)) live.push_back(timer);
    std::sort(live.begin(), live.end(), [](const Timer& left, const Timer& right) { return left.offset < right.offset; });
    return live;
}

std::size_t TimerBook::purge_below(std::uint64_t offset) {
    std::size_t lost = 0;
    const std::size_t gone = std::erase_if(heap_, [&](const Timer& timer) {
        if (timer.offset >= offset) return false;
        if (recalled_.erase(timer.offset) == 0) ++lost;
        return true;
    });
    if (gone > 0) std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
    return lost;
}

std::vector<Timer> TimerBook::due_at(std::int64_t due_ms, std::size_t count_max) const {
    std::vector<Timer> found;
    for (const Timer& timer : heap_) {
        if (timer.due_ms != due_ms) continue;
        if (found.size() == count_max) break;
        found.push_back(timer);
    }
    return found;
}

void TimerBook::refuse(std::uint64_t offset, std::uint64_t recall_offset) {
    if (std::erase_if(heap_, [&](const Timer& timer) { return timer.offset >= offset; }) > 0)
        std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
    std::erase_if(recalled_, [&](const auto& entry) { return entry.first >= offset || entry.second >= recall_offset; });
}

void TimerBook::raise_low(std::size_t delivered, std::uint64_t next, std::uint64_t next_recall) {
    constexpr std::size_t worth_it = 1024;
    delivered_since_look_ += delivered;
    if (!heap_.empty() && delivered_since_look_ < std::max(worth_it, heap_.size())) return;
    delivered_since_look_ = 0;
    progress_.low = next;
    for (const Timer& timer : heap_) progress_.low = std::min(progress_.low, timer.offset);
    progress_.recalls_low = next_recall;
    for (const auto& [offset, recall_offset] : recalled_)
        progress_.recalls_low = std::min(progress_.recalls_low, recall_offset);
    // A part whose timers have all been passed says nothing any more.
    while (progress_.parts.size() > 1 && progress_.parts[1].start <= progress_.low)
        progress_.parts.erase(progress_.parts.begin());
}

}  // namespace hufu::broker
