#include "verdict_database.hpp"

#include <algorithm>

namespace hufu::simulation {

VerdictDatabase::Handle VerdictDatabase::begin() {
    open_[++last_];
    return last_;
}

VerdictDatabase::Inserted VerdictDatabase::insert(Handle handle, const TransactionId& transaction, txmsg::Verdict verdict) {
    if (state_.verdicts.contains(transaction)) return Inserted::present;
    for (const auto& [other, open] : open_)
        if (other != handle && open.verdicts.contains(transaction)) return Inserted::waits;
    open_.at(handle).verdicts.emplace(transaction, verdict);
    return Inserted::inserted;
}

txmsg::VerdictRow VerdictDatabase::read(Handle handle, const TransactionId& transaction) const {
    txmsg::VerdictRow row;
    row.watermark = state_.watermark;
    if (const auto kept = state_.verdicts.find(transaction); kept != state_.verdicts.end()) row.verdict = kept->second;
    const auto& own = open_.at(handle).verdicts;
    if (const auto mine = own.find(transaction); mine != own.end()) row.verdict = mine->second;
    return row;
}

void VerdictDatabase::change_business(Handle handle, const TransactionId& transaction) {
    open_.at(handle).business.push_back(transaction);
}

std::optional<std::vector<VerdictDatabase::TransactionId>> VerdictDatabase::commit(Handle handle) {
    const auto found = open_.find(handle);
    if (found == open_.end()) return std::nullopt;
    state_.verdicts.merge(found->second.verdicts);
    std::vector<TransactionId> committed = std::move(found->second.business);
    state_.business.insert(committed.begin(), committed.end());
    open_.erase(found);
    return committed;
}

std::set<VerdictDatabase::TransactionId> VerdictDatabase::fail_over() {
    std::set<TransactionId> forgotten;
    if (!standby_) return forgotten;
    for (const auto& [transaction, verdict] : state_.verdicts)
        if (!standby_->verdicts.contains(transaction)) forgotten.insert(transaction);
    // The watermark is not forgotten: rows that were purged before the mark would come back under it, and stay unseen.
    standby_->watermark = state_.watermark;
    state_ = *standby_;
    standby_.reset();
    open_.clear();
    return forgotten;
}

void VerdictDatabase::purge() {
    std::erase_if(state_.verdicts, [this](const auto& row) { return txmsg::begun_at(row.first) < state_.watermark; });
}

}  // namespace hufu::simulation
