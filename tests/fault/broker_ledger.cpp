#include "broker_ledger.hpp"

#include <charconv>

namespace hufu::fault {
namespace {

/// The number a body claims, if it is a body of this queue at all.
std::optional<std::uint64_t> number_of(std::int32_t queue_id, std::string_view body) {
    const std::string prefix = "queue " + std::to_string(queue_id) + " number ";
    if (!body.starts_with(prefix)) return std::nullopt;
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(body.data() + prefix.size(), body.data() + body.size(), number);
    if (parsed.ec != std::errc{} || body != make_body(queue_id, number)) return std::nullopt;
    return number;
}

}  // namespace

std::string make_body(std::int32_t queue_id, std::uint64_t number) {
    std::string body = "queue " + std::to_string(queue_id) + " number " + std::to_string(number) + " ";
    const std::size_t size = 100 + number * 7919 % 1900;
    std::uint64_t state = number * 0x9e3779b97f4a7c15ULL + static_cast<std::uint64_t>(queue_id) + 1;
    while (body.size() < size) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.push_back(static_cast<char>('a' + state % 26));
    }
    return body;
}

void Verdict::add(const Verdict& other) {
    lost += other.lost;
    duplicated += other.duplicated;
    reordered += other.reordered;
    invented += other.invented;
    moved += other.moved;
}

std::uint64_t QueueLedger::next() {
    const std::lock_guard lock{mutex_};
    return attempted_++;
}

void QueueLedger::acknowledged(std::uint64_t number, std::int64_t queue_offset) {
    const std::lock_guard lock{mutex_};
    acknowledged_.emplace(number, queue_offset);
}

void QueueLedger::seen(const std::vector<Stored>& stored) {
    const std::lock_guard lock{mutex_};
    for (const Stored& one : stored) seen_.emplace(one.queue_offset, one.body);
}

std::uint64_t QueueLedger::acknowledged_count() const {
    const std::lock_guard lock{mutex_};
    return acknowledged_.size();
}

Verdict QueueLedger::check(const std::vector<Stored>& stored) const {
    const std::lock_guard lock{mutex_};
    Verdict verdict;
    std::map<std::uint64_t, std::int64_t> present;
    std::map<std::int64_t, const std::string*> by_offset;
    std::optional<std::uint64_t> highest;
    for (const Stored& one : stored) {
        by_offset.emplace(one.queue_offset, &one.body);
        const auto number = number_of(queue_id_, one.body);
        if (!number || *number >= attempted_) {
            ++verdict.invented;
            continue;
        }
        if (!present.emplace(*number, one.queue_offset).second) {
            ++verdict.duplicated;
        } else if (highest && *number < *highest) {
            ++verdict.reordered;
        }
        highest = std::max(highest.value_or(0), *number);
    }
    for (const auto& [number, offset] : acknowledged_) {
        const auto found = present.find(number);
        if (found == present.end()) {
            ++verdict.lost;
        } else if (found->second != offset) {
            ++verdict.moved;
        }
    }
    for (const auto& [offset, body] : seen_) {
        const auto found = by_offset.find(offset);
        if (found == by_offset.end() || *found->second != body) ++verdict.moved;
    }
    return verdict;
}

Verdict QueueLedger::check_unordered(const std::vector<Stored>& stored) const {
    Verdict verdict = check(stored);
    verdict.reordered = 0;
    verdict.moved = 0;
    return verdict;
}

}  // namespace hufu::fault
