// A lane in memory, with transactions that commit in any order, for the relay's unit tests.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <hufu/outbox/store.hpp>

#include "memory_book.hpp"

namespace hufu::outbox::testing {

using std::chrono::milliseconds;

/// The database. Time stands still until `advance`. Thread-safe.
struct MemoryLane {
    std::recursive_mutex mutex;
    bool commits_in_order = false;
    std::string identity = "system 1, timeline 1, start 1";
    SystemTime now{std::chrono::hours{1}};
    Sequence last_seq = 0;
    TransactionNumber next_xid = 100;
    std::set<TransactionNumber> open;
    std::map<Sequence, Row> rows;
    std::map<Sequence, ParkedRow> lot;
    std::multimap<SystemTime, Row> delayed;
    std::vector<AuditEntry> audit;
    std::string owner;
    std::uint64_t epoch = 0;
    SystemTime lease_until{};
    MemoryBook book{[this] { return now; }};
    std::vector<MessageId> started;              ///< messages whose receipts a settle made due
    std::optional<Error> fail_next;              ///< the next call fails without effect
    std::optional<Error> lose_answer_of_settle;  ///< the next settle works but reports this

    /// A business transaction: numbers its rows when they are appended, shows them when it commits.
    class Writer {
    public:
        explicit Writer(MemoryLane& lane) : lane_{&lane} {
            const std::lock_guard lock{lane_->mutex};
            xid_ = lane_->next_xid++;
            lane_->open.insert(xid_);
        }
        Sequence append(std::string key, std::string body) {
            const std::lock_guard lock{lane_->mutex};
            Row row{.seq = ++lane_->last_seq, .created_at = lane_->now};
            row.message.topic = "orders";
            row.message.ordering_key = std::move(key);
            row.message.body = std::move(body);
            appended_.push_back(row);
            return row.seq;
        }
        void commit() {
            const std::lock_guard lock{lane_->mutex};
            for (Row& row : appended_) lane_->rows.emplace(row.seq, std::move(row));
            lane_->open.erase(xid_);
        }
        void roll_back() {
            const std::lock_guard lock{lane_->mutex};
            lane_->open.erase(xid_);
        }

    private:
        MemoryLane* lane_;
        TransactionNumber xid_ = 0;
        std::vector<Row> appended_;
    };

    Sequence append(std::string key, std::string body) {
        Writer writer{*this};
        const Sequence seq = writer.append(std::move(key), std::move(body));
        writer.commit();
        return seq;
    }
    void advance(milliseconds by) {
        const std::lock_guard lock{mutex};
        now += by;
    }
    /// What a failover or restart leaves: other identity, no running transaction.
    void restart(const std::string& new_identity) {
        const std::lock_guard lock{mutex};
        identity = new_identity;
        open.clear();
    }

    TransactionNumber draw_xid() { return commits_in_order ? 0 : next_xid++; }
    TransactionNumber xmin() const { return commits_in_order ? 0 : (open.empty() ? next_xid : *open.begin()); }
    Ownership check(const Claim& claim) const {
        if (claim.identity != identity) return Ownership::moved_on;
        return claim.epoch == epoch ? Ownership::held : Ownership::fenced;
    }
    std::optional<Error> injected() { return std::exchange(fail_next, std::nullopt); }
};

class MemoryStore final : public Store {
public:
    explicit MemoryStore(MemoryLane& lane) : lane_{lane} {}
    std::unique_ptr<LaneLease> lease() override { return std::make_unique<Lease>(lane_); }
    std::unique_ptr<LaneReader> reader() override { return std::make_unique<Reader>(lane_); }
    std::unique_ptr<LaneSettler> settler() override { return std::make_unique<Settler>(lane_); }
    std::unique_ptr<ParkingLot> parking_lot() override { return std::make_unique<Lot>(lane_); }
    std::unique_ptr<DelayedRows> delayed_rows() override { return std::make_unique<Delayed>(lane_); }
    std::unique_ptr<AwaitingRows> awaiting_rows() override {
        return std::make_unique<MemoryAwaiting>(lane_.book, lane_.mutex);
    }
    std::string describe() const override { return "memory"; }
    Result<Status> status() override {
        const std::lock_guard lock{lane_.mutex};
        return Status{.pending = lane_.rows.size(), .parked_rows = lane_.lot.size(), .delayed = lane_.delayed.size()};
    }

private:
    using Lock = std::lock_guard<std::recursive_mutex>;

    struct Lease final : LaneLease {
        explicit Lease(MemoryLane& memory) : lane{memory} {}
        MemoryLane& lane;
        Result<std::optional<Claim>> acquire(std::string_view owner, milliseconds length) override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            if (lane.lease_until >= lane.now && lane.owner != owner && lane.epoch != 0) return std::optional<Claim>{};
            lane.owner = owner;
            lane.lease_until = lane.now + length;
            return std::optional{Claim{.epoch = ++lane.epoch, .identity = lane.identity}};
        }
        Result<Ownership> renew(const Claim& claim, milliseconds length) override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            const Ownership ownership = lane.check(claim);
            if (ownership == Ownership::held) lane.lease_until = lane.now + length;
            return ownership;
        }
        Result<void> release(const Claim& claim) override {
            const Lock lock{lane.mutex};
            if (lane.check(claim) == Ownership::held) lane.lease_until = lane.now - milliseconds{1};
            return {};
        }
    };

    struct Reader final : LaneReader {
        explicit Reader(MemoryLane& memory) : lane{memory} {}
        MemoryLane& lane;
        Result<LaneStart> start() override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            const Sequence base = lane.commits_in_order ? 0 : lane.last_seq;
            return LaneStart{.identity = lane.identity,
                             .base = base,
                             .bound = lane.draw_xid(),
                             .commits_in_order = lane.commits_in_order};
        }
        Result<Page> read(const ReadRequest& request) override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            Page page{.rows = {}, .xmin = lane.xmin(), .identity = lane.identity};
            const auto in = [](const std::vector<Sequence>& seqs, Sequence seq) {
                return std::binary_search(seqs.begin(), seqs.end(), seq);
            };
            for (const auto& [seq, row] : lane.rows) {
                if (page.rows.size() == request.limit) break;
                if (seq > request.after || in(request.holes, seq) || (seq <= request.upto && !in(request.skip, seq))) {
                    page.rows.push_back(row);
                }
            }
            return page;
        }
        Result<std::uint64_t> count_unknown(Sequence upto, std::span<const Sequence> known) override {
            const Lock lock{lane.mutex};
            std::uint64_t count = 0;
            for (const auto& [seq, row] : lane.rows) {
                count += seq <= upto && !std::binary_search(known.begin(), known.end(), seq) ? 1 : 0;
            }
            return count;
        }
    };

    struct Settler final : LaneSettler {
        explicit Settler(MemoryLane& memory) : lane{memory} {}
        MemoryLane& lane;
        Result<Settled> settle(const Claim& claim, std::span<const Sequence> seqs,
                               std::span<const MessageId> awaited) override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            const Ownership ownership = lane.check(claim);
            if (ownership != Ownership::held) return Settled{.ownership = ownership};
            for (const Sequence seq : seqs) lane.rows.erase(seq);
            lane.started.insert(lane.started.end(), awaited.begin(), awaited.end());
            if (auto error = std::exchange(lane.lose_answer_of_settle, std::nullopt)) return *error;
            return Settled{.transaction = lane.draw_xid()};
        }
    };

    struct Lot final : ParkingLot {
        explicit Lot(MemoryLane& memory) : lane{memory} {}
        MemoryLane& lane;
        static bool of(const ParkedRow& parked, const Key& key) {
            return parked.row.message.topic == key.topic && parked.row.message.ordering_key == key.ordering_key;
        }
        Result<Ownership> park(const Claim& claim, std::span<const ParkRow> rows) override {
            const Lock lock{lane.mutex};
            if (auto error = lane.injected()) return *error;
            if (const Ownership ownership = lane.check(claim); ownership != Ownership::held) return ownership;
            for (const ParkRow& row : rows) {
                const auto found = lane.rows.find(row.seq);
                if (found == lane.rows.end()) continue;
                lane.lot[row.seq] = {.row = found->second,
                                     .attempts = row.attempts,
                                     .reason = row.reason,
                                     .parked_at = lane.now,
                                     .released = row.released};
                lane.rows.erase(found);
            }
            return Ownership::held;
        }
        Result<std::vector<ParkedRow>> read_released(const Key& key, Sequence after, std::size_t limit) override {
            const Lock lock{lane.mutex};
            std::vector<ParkedRow> rows;
            const bool any = std::any_of(lane.lot.begin(), lane.lot.end(),
                                         [&](const auto& entry) { return of(entry.second, key) && entry.second.released; });
            for (const auto& [seq, parked] : lane.lot) {
                const bool wanted = key.ordering_key.empty() ? parked.released : any;
                if (rows.size() < limit && seq > after && of(parked, key) && wanted) rows.push_back(parked);
            }
            return rows;
        }
        Result<Ownership> settle(const Claim& claim, std::span<const Sequence> seqs,
                                 std::span<const MessageId> awaited) override {
            const Lock lock{lane.mutex};
            if (const Ownership ownership = lane.check(claim); ownership != Ownership::held) return ownership;
            for (const Sequence seq : seqs) lane.lot.erase(seq);
            lane.started.insert(lane.started.end(), awaited.begin(), awaited.end());
            return Ownership::held;
        }
        Result<Ownership> hold(const Claim& claim, const Key& key, const ParkRow& row) override {
            const Lock lock{lane.mutex};
            if (const Ownership ownership = lane.check(claim); ownership != Ownership::held) return ownership;
            for (auto& [seq, parked] : lane.lot) {
                if (!of(parked, key) || (key.ordering_key.empty() && seq != row.seq)) continue;
                parked.released = false;
                if (seq == row.seq) {
                    parked.attempts = row.attempts;
                    parked.reason = row.reason;
                }
            }
            return Ownership::held;
        }
        Result<std::vector<ParkedKey>> list() override {
            const Lock lock{lane.mutex};
            std::map<Key, ParkedKey> keys;
            for (const auto& [seq, parked] : lane.lot) {
                const Key key{.topic = parked.row.message.topic, .ordering_key = parked.row.message.ordering_key};
                ParkedKey& listed = keys[key];
                if (listed.rows++ == 0) {
                    listed = {.key = key, .rows = 1, .first_seq = seq, .attempts = parked.attempts, .reason = parked.reason};
                }
                listed.rows_released += parked.released ? 1 : 0;
            }
            std::vector<ParkedKey> list;
            for (auto& [key, listed] : keys) list.push_back(std::move(listed));
            return list;
        }
        Result<std::vector<ParkedRow>> show(const Key& key, std::size_t limit) override {
            const Lock lock{lane.mutex};
            std::vector<ParkedRow> rows;
            for (const auto& [seq, parked] : lane.lot) {
                if (rows.size() < limit && of(parked, key)) rows.push_back(parked);
            }
            return rows;
        }
        Result<std::uint64_t> release(const ParkedSelection& selection, const AuditNote& note) override {
            return decide("release", selection, note, [](ParkedRow& parked) { return parked.released = true, false; });
        }
        Result<std::uint64_t> discard(const ParkedSelection& selection, const AuditNote& note) override {
            return decide("discard", selection, note, [](ParkedRow&) { return true; });
        }
        Result<std::vector<AuditEntry>> audit(std::size_t) override { return lane.audit; }

        template <class Action>  // returns true to remove the row
        Result<std::uint64_t> decide(const char* action, const ParkedSelection& selection, const AuditNote& note,
                                     Action act) {
            const Lock lock{lane.mutex};
            std::uint64_t count = 0;
            for (auto next = lane.lot.begin(); next != lane.lot.end();) {
                const auto entry = next++;
                if (!of(entry->second, selection.key) || (selection.seq && *selection.seq != entry->first)) continue;
                ++count;
                if (act(entry->second)) lane.lot.erase(entry);
            }
            lane.audit.push_back({.at = lane.now, .action = action, .selection = selection, .rows = count, .note = note});
            return count;
        }
    };

    struct Delayed final : DelayedRows {
        explicit Delayed(MemoryLane& memory) : lane{memory} {}
        MemoryLane& lane;
        Result<Moved> move_due(const Claim& claim, std::size_t limit) override {
            const Lock lock{lane.mutex};
            Moved moved{.ownership = lane.check(claim)};
            if (moved.ownership != Ownership::held) return moved;
            while (!lane.delayed.empty() && lane.delayed.begin()->first <= lane.now && moved.rows < limit) {
                Row row = std::move(lane.delayed.begin()->second);
                lane.delayed.erase(lane.delayed.begin());
                row.seq = ++lane.last_seq;
                row.message.deliver_at.reset();
                lane.rows.emplace(row.seq, std::move(row));
                ++moved.rows;
            }
            if (!lane.delayed.empty()) {
                moved.next_due_in = std::chrono::duration_cast<milliseconds>(lane.delayed.begin()->first - lane.now);
            }
            return moved;
        }
    };

    MemoryLane& lane_;
};

}  // namespace hufu::outbox::testing
