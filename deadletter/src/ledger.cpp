#include <hufu/deadletter/ledger.hpp>

#include <algorithm>

namespace hufu::deadletter {

void Ledger::apply(const AuditRecord& record, SystemTime stored_at) {
    const auto [known, is_new] = by_id_.try_emplace(record.job, jobs_.size());
    if (is_new) {
        // Usually its beginning; a later record when the broker has let the beginning go already.
        jobs_.push_back({.id = record.job,
                         .act = record.act,
                         .topic = record.topic,
                         .actor = record.actor,
                         .reason = record.reason,
                         .begun_at = stored_at});
    }
    Job& job = jobs_[known->second];
    job.heard_at = std::max(job.heard_at, stored_at);
    switch (record.kind) {
        case AuditRecord::Kind::begun: job.asked = record.text; return;
        case AuditRecord::Kind::alive: return;
        case AuditRecord::Kind::took_over:
            if (const auto other = by_id_.find(record.text); other != by_id_.end()) {
                jobs_[other->second].taken_over_by = record.job;
            }
            return;
        case AuditRecord::Kind::ended:
            job.ended = true;
            job.ending = record.text;
            return;
        case AuditRecord::Kind::settled:
            auto& queue = settled_[record.topic][record.queue];
            for (const auto& letter : record.letters) {
                // A copy of the record (its publisher repeats when in doubt) changes nothing.
                const auto [entry, fresh] = queue.try_emplace(letter.offset, Settlement{letter.id, known->second});
                if (fresh || entry->second.id != letter.id) {
                    entry->second = {letter.id, known->second};
                    ++job.settled;
                }
            }
            return;
    }
}

const Ledger::Settlement* Ledger::settlement(const std::string& topic, const Place& place, const MessageId& id) const {
    const auto queues = settled_.find(topic);
    if (queues == settled_.end()) return nullptr;
    const auto offsets = queues->second.find(place.queue);
    if (offsets == queues->second.end()) return nullptr;
    const auto found = offsets->second.find(place.offset);
    return found == offsets->second.end() || found->second.id != id ? nullptr : &found->second;
}

std::uint64_t Ledger::settled_in(const std::string& topic, const QueueRange& range) const {
    const auto queues = settled_.find(topic);
    if (queues == settled_.end()) return 0;
    const auto offsets = queues->second.find(range.queue);
    if (offsets == queues->second.end()) return 0;
    return static_cast<std::uint64_t>(std::count_if(offsets->second.begin(), offsets->second.end(), [&](const auto& entry) {
        return entry.first >= range.first && entry.first < range.end;
    }));
}

const Ledger::Job* Ledger::find(const std::string& job) const {
    const auto found = by_id_.find(job);
    return found == by_id_.end() ? nullptr : &jobs_[found->second];
}

const Ledger::Job* Ledger::rival_of(const std::string& job, std::chrono::milliseconds silence) const {
    const Job* const own = find(job);
    if (own == nullptr) return nullptr;
    for (const Job& other : jobs_) {
        if (&other == own) return nullptr;
        if (other.topic == own->topic && !other.ended && other.taken_over_by.empty() &&
            other.heard_at + silence > own->heard_at) {
            return &other;
        }
    }
    return nullptr;
}

std::vector<std::string> Ledger::abandoned_before(const std::string& job) const {
    std::vector<std::string> abandoned;
    const Job* const own = find(job);
    for (const Job& other : jobs_) {
        if (&other == own) break;
        if (own != nullptr && other.topic == own->topic && !other.ended && other.taken_over_by.empty()) {
            abandoned.push_back(other.id);
        }
    }
    return abandoned;
}

}  // namespace hufu::deadletter
