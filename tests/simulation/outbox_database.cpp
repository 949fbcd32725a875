#include "outbox_database.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <hufu/core/assert.hpp>
#include <hufu/core/mutant.hpp>

namespace hufu::simulation {

using outbox::Claim;
using outbox::Key;
using outbox::Ownership;
using outbox::ParkedRow;
using outbox::ParkRow;
using outbox::Row;
using outbox::Sequence;

namespace {
Key key_of(const Row& row) { return {row.message.topic, row.message.ordering_key}; }
}  // namespace

std::optional<OutboxDatabase::TransactionId> OutboxDatabase::begin() {
    if (kind_ == StoreKind::sqlite && !open_.empty()) return std::nullopt;
    open_[++last_handle_].number = next_transaction_++;
    return last_handle_;
}

Sequence OutboxDatabase::next_sequence() {
    // Without AUTOINCREMENT, SQLite gives out one above the highest row that exists.
    if (kind_ == StoreKind::sqlite && mutant_active("reused_sqlite_rowid")) {
        return state_.lane.empty() ? 1 : state_.lane.rbegin()->first + 1;
    }
    return ++state_.sequence;
}

void OutboxDatabase::insert(TransactionId transaction, const Message& message) {
    const auto found = open_.find(transaction);
    if (found == open_.end()) return;
    Sequence seq = next_sequence();
    if (!found->second.rows.empty()) seq = std::max(seq, found->second.rows.back().seq + 1);
    events_.note("writer ", transaction, ", transaction ", found->second.number, ", inserts row ", seq, ": ",
                 message.ordering_key, " ", message.body);
    found->second.rows.push_back(Row{.seq = seq, .created_at = events_.system_now(), .message = message});
}

bool OutboxDatabase::commit(TransactionId transaction) {
    events_.note("writer ", transaction, open_.contains(transaction) ? " commits" : " is dead");
    const auto found = open_.find(transaction);
    if (found == open_.end()) return false;
    for (Row& row : found->second.rows) {
        if (row.message.deliver_at && *row.message.deliver_at > events_.system_now()) {
            state_.delayed.emplace(*row.message.deliver_at, std::move(row));
        } else {
            const Sequence seq = row.seq;
            state_.lane.emplace(seq, std::move(row));
        }
    }
    durable_transaction_ = std::max(durable_transaction_, found->second.number);
    open_.erase(found);
    return true;
}

void OutboxDatabase::abort(TransactionId transaction) {
    const auto found = open_.find(transaction);
    if (found == open_.end()) return;
    // SQLite's counter is a table row: rolled back with the rest.
    if (kind_ == StoreKind::sqlite && !found->second.rows.empty()) state_.sequence = found->second.rows.front().seq - 1;
    open_.erase(found);
}

void OutboxDatabase::restart() {
    if (kind_ == StoreKind::sqlite) {
        while (!open_.empty()) abort(open_.begin()->first);
        return;
    }
    // Numbers that left nothing behind are handed out again after a crash.
    next_transaction_ = durable_transaction_ + 1;
    events_.note("the next transaction is ", next_transaction_);
    open_.clear();
    ++history_;
}

void OutboxDatabase::mark_standby() { standby_ = state_; }

void OutboxDatabase::fail_over() {
    if (!standby_ || kind_ == StoreKind::sqlite) return;
    // The epoch goes back too and may repeat: what tells an old claim from a new one is the identity.
    state_ = *standby_;
    standby_.reset();
    open_.clear();
    ++history_;
}

std::vector<OutboxDatabase::ParkedHead> OutboxDatabase::parked_heads() const {
    std::map<Key, MessageId> heads;
    std::set<Key> released;
    for (const auto& [seq, parked] : state_.lot) {
        heads.try_emplace(key_of(parked.row), parked.row.message.id);
        if (parked.released) released.insert(key_of(parked.row));
    }
    for (const Key& key : released) heads.erase(key);
    std::vector<ParkedHead> list;
    for (const auto& [key, head] : heads) list.push_back({key, head});
    return list;
}

void OutboxDatabase::release_parked(const Key& key, bool discard_head) {
    bool head = discard_head;
    for (auto parked = state_.lot.begin(); parked != state_.lot.end();) {
        if (key_of(parked->second.row) == key && std::exchange(head, false)) {
            parked = state_.lot.erase(parked);
            continue;
        }
        if (key_of(parked->second.row) == key) parked->second.released = true;
        ++parked;
    }
}

outbox::TransactionNumber OutboxDatabase::xmin() const {
    if (kind_ == StoreKind::sqlite) return 0;
    TransactionId lowest = next_transaction_;
    for (const auto& [handle, open] : open_) lowest = std::min(lowest, open.number);
    return lowest;
}

Ownership OutboxDatabase::check(const Claim& claim) const {
    if (claim.identity != identity()) return Ownership::moved_on;
    return claim.epoch == state_.epoch ? Ownership::held : Ownership::fenced;
}

class OutboxDatabase::Lease final : public outbox::LaneLease {
public:
    explicit Lease(OutboxDatabase& database) : database_{database} {}
    Result<std::optional<Claim>> acquire(std::string_view owner, std::chrono::milliseconds lease) override {
        State& state = database_.state_;
        const SystemTime now = database_.events_.system_now();
        if (state.lease_until > now && state.owner != owner) return std::optional<Claim>{};
        state.owner = owner;
        state.lease_until = now + lease;
        ++state.epoch;
        return std::optional{Claim{state.epoch, database_.identity()}};
    }
    Result<Ownership> renew(const Claim& claim, std::chrono::milliseconds lease) override {
        const Ownership ownership = database_.check(claim);
        if (ownership == Ownership::held) database_.state_.lease_until = database_.events_.system_now() + lease;
        return ownership;
    }
    Result<void> release(const Claim& claim) override {
        if (database_.check(claim) == Ownership::held) database_.state_.lease_until = {};
        return {};
    }

private:
    OutboxDatabase& database_;
};

class OutboxDatabase::Reader final : public outbox::LaneReader {
public:
    explicit Reader(OutboxDatabase& database) : database_{database} {}

    Result<outbox::LaneStart> start() override {
        if (database_.kind_ == StoreKind::sqlite) return outbox::LaneStart{database_.identity(), 0, 0, true};
        return outbox::LaneStart{database_.identity(), database_.state_.sequence, database_.next_transaction_++, false};
    }

    Result<outbox::Page> read(const outbox::ReadRequest& request) override {
        outbox::Page page;
        page.identity = database_.identity();
        page.xmin = database_.xmin();
        for (const auto& [seq, row] : database_.state_.lane) {
            const bool wanted =
                seq > request.after || contains(request.holes, seq) || (seq <= request.upto && !contains(request.skip, seq));
            if (wanted) page.rows.push_back(row);
            if (page.rows.size() == request.limit) break;
        }
        database_.events_.note("read after ", request.after, ", ", request.holes.size(), " holes from ",
                               request.holes.empty() ? 0 : request.holes.front(), ", up to ", request.upto, ": ",
                               page.rows.size(), " rows from ", page.rows.empty() ? 0 : page.rows.front().seq, " to ",
                               page.rows.empty() ? 0 : page.rows.back().seq, ", xmin ", page.xmin);
        return page;
    }

    Result<std::uint64_t> count_unknown(Sequence upto, std::span<const Sequence> known) override {
        std::uint64_t count = 0;
        for (const auto& [seq, row] : database_.state_.lane) {
            if (seq <= upto && !std::binary_search(known.begin(), known.end(), seq)) ++count;
        }
        return count;
    }

private:
    static bool contains(const std::vector<Sequence>& sorted, Sequence seq) {
        return std::binary_search(sorted.begin(), sorted.end(), seq);
    }
    OutboxDatabase& database_;
};

class OutboxDatabase::Settler final : public outbox::LaneSettler {
public:
    explicit Settler(OutboxDatabase& database) : database_{database} {}
    Result<outbox::Settled> settle(const Claim& claim, std::span<const Sequence> seqs, std::span<const MessageId>) override {
        const Ownership ownership = database_.check(claim);
        if (ownership != Ownership::held) return outbox::Settled{ownership, 0};
        for (const Sequence seq : seqs) database_.state_.lane.erase(seq);
        if (database_.kind_ == StoreKind::sqlite) return outbox::Settled{ownership, 0};
        database_.durable_transaction_ = database_.next_transaction_++;
        database_.events_.note("settle of ", seqs.size(), " rows is transaction ", database_.durable_transaction_);
        return outbox::Settled{ownership, database_.durable_transaction_};
    }

private:
    OutboxDatabase& database_;
};

class OutboxDatabase::Lot final : public outbox::ParkingLot {
public:
    explicit Lot(OutboxDatabase& database) : database_{database} {}

    Result<Ownership> park(const Claim& claim, std::span<const ParkRow> rows) override {
        const Ownership ownership = database_.check(claim);
        if (ownership != Ownership::held) return ownership;
        for (const ParkRow& row : rows) {
            auto node = database_.state_.lane.extract(row.seq);
            database_.events_.note("row ", row.seq, node.empty() ? " is not in the lane: not parked" : " is parked",
                                   row.released ? " and released: " : ": ", row.reason);
            if (node.empty()) continue;
            database_.state_.lot.emplace(row.seq, ParkedRow{.row = std::move(node.mapped()),
                                                            .attempts = row.attempts,
                                                            .reason = row.reason,
                                                            .parked_at = database_.events_.system_now(),
                                                            .released = row.released});
        }
        return ownership;
    }

    Result<std::vector<ParkedRow>> read_released(const Key& key, Sequence after, std::size_t limit) override {
        std::vector<ParkedRow> rows;
        database_.events_.note("released rows of ", key.ordering_key, " after ", after, " are read");
        // A key is released as a whole: one released row speaks for those that were parked since.
        const bool whole = !key.ordering_key.empty() && any_released(key);
        for (const auto& [seq, parked] : database_.state_.lot) {
            if (seq > after && (whole || parked.released) && key_of(parked.row) == key && rows.size() < limit)
                rows.push_back(parked);
        }
        return rows;
    }

    Result<Ownership> settle(const Claim& claim, std::span<const Sequence> seqs, std::span<const MessageId>) override {
        const Ownership ownership = database_.check(claim);
        if (ownership != Ownership::held) return ownership;
        for (const Sequence seq : seqs) {
            const auto settled = database_.state_.lot.find(seq);
            if (settled == database_.state_.lot.end()) continue;
            const Key key = key_of(settled->second.row);
            const bool released = settled->second.released;
            database_.state_.lot.erase(settled);
            if (released && !key.ordering_key.empty()) release_rest(key);
        }
        return ownership;
    }

    Result<Ownership> hold(const Claim& claim, const Key& key, const ParkRow& row) override {
        const Ownership ownership = database_.check(claim);
        if (ownership != Ownership::held) return ownership;
        for (auto& [seq, parked] : database_.state_.lot) {
            if (key_of(parked.row) == key && (!key.ordering_key.empty() || seq == row.seq)) parked.released = false;
            if (seq == row.seq) {
                parked.attempts = row.attempts;
                parked.reason = row.reason;
            }
        }
        return ownership;
    }

    Result<std::vector<outbox::ParkedKey>> list() override {
        std::map<Key, outbox::ParkedKey> keys;
        for (const auto& [seq, parked] : database_.state_.lot) {
            outbox::ParkedKey& key = keys[key_of(parked.row)];
            if (key.rows == 0) {
                key = {key_of(parked.row), 0, 0, seq, parked.attempts, parked.reason, parked.parked_at};
            }
            ++key.rows;
            key.rows_released += parked.released ? 1U : 0U;
        }
        std::vector<outbox::ParkedKey> list;
        for (auto& [name, key] : keys) list.push_back(std::move(key));
        return list;
    }

    // A person's calls come through OutboxDatabase::release_parked.
    Result<std::vector<ParkedRow>> show(const Key&, std::size_t) override { return std::vector<ParkedRow>{}; }
    Result<std::uint64_t> release(const outbox::ParkedSelection&, const outbox::AuditNote&) override {
        return std::uint64_t{0};
    }
    Result<std::uint64_t> discard(const outbox::ParkedSelection&, const outbox::AuditNote&) override {
        return std::uint64_t{0};
    }
    Result<std::vector<outbox::AuditEntry>> audit(std::size_t) override { return std::vector<outbox::AuditEntry>{}; }

private:
    [[nodiscard]] bool any_released(const Key& key) const {
        return std::any_of(database_.state_.lot.begin(), database_.state_.lot.end(),
                           [&](const auto& row) { return row.second.released && key_of(row.second.row) == key; });
    }
    /// The mark stays with the key while a row of it is left.
    void release_rest(const Key& key) {
        for (auto& [seq, parked] : database_.state_.lot) {
            if (key_of(parked.row) == key) parked.released = true;
        }
    }
    OutboxDatabase& database_;
};

class OutboxDatabase::Delayed final : public outbox::DelayedRows {
public:
    explicit Delayed(OutboxDatabase& database) : database_{database} {}
    Result<outbox::Moved> move_due(const Claim& claim, std::size_t limit) override {
        const Ownership ownership = database_.check(claim);
        if (ownership != Ownership::held) return outbox::Moved{ownership, 0, {}};
        State& state = database_.state_;
        // In SQLite this is a writing transaction: it waits for the one writer.
        if (database_.kind_ == StoreKind::sqlite && !database_.open_.empty()) {
            return Error{ErrorCode::busy, Disposition::retry, "the database is locked by a writer"};
        }
        outbox::Moved moved;
        while (moved.rows < limit && !state.delayed.empty() &&
               state.delayed.begin()->first <= database_.events_.system_now()) {
            Row row = std::move(state.delayed.begin()->second);
            state.delayed.erase(state.delayed.begin());
            row.seq = database_.next_sequence();
            row.message.deliver_at.reset();
            const Sequence seq = row.seq;
            state.lane.emplace(seq, std::move(row));
            ++moved.rows;
        }
        if (!state.delayed.empty()) {
            moved.next_due_in = std::chrono::duration_cast<std::chrono::milliseconds>(state.delayed.begin()->first -
                                                                                      database_.events_.system_now()) +
                                std::chrono::milliseconds{1};
        }
        return moved;
    }

private:
    OutboxDatabase& database_;
};

std::unique_ptr<outbox::LaneLease> OutboxDatabase::lease() { return std::make_unique<Lease>(*this); }
std::unique_ptr<outbox::LaneReader> OutboxDatabase::reader() { return std::make_unique<Reader>(*this); }
std::unique_ptr<outbox::LaneSettler> OutboxDatabase::settler() { return std::make_unique<Settler>(*this); }
std::unique_ptr<outbox::ParkingLot> OutboxDatabase::parking_lot() { return std::make_unique<Lot>(*this); }
std::unique_ptr<outbox::DelayedRows> OutboxDatabase::delayed_rows() { return std::make_unique<Delayed>(*this); }

}  // namespace hufu::simulation
