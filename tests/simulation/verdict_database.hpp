// A model of a business database with its verdict table: rows with a unique key, transactions that wait for each other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <hufu/txmsg/fenced_check.hpp>

namespace hufu::simulation {

/// The database. Calls happen at an instant; whoever calls adds the network and the waiting.
class VerdictDatabase {
public:
    using Handle = std::uint64_t;
    using TransactionId = txmsg::TransactionId;

    explicit VerdictDatabase(std::string uuid) : uuid_{std::move(uuid)} {}

    [[nodiscard]] const std::string& uuid() const { return uuid_; }

    Handle begin();
    enum class Inserted : std::uint8_t {
        inserted,
        present,  ///< a committed row is there
        waits,    ///< another open transaction has inserted it: ask again
    };
    Inserted insert(Handle handle, const TransactionId& transaction, txmsg::Verdict verdict);
    /// A statement of its own: sees what is committed now, and the own row.
    [[nodiscard]] txmsg::VerdictRow read(Handle handle, const TransactionId& transaction) const;
    /// The business rows of the local transaction.
    void change_business(Handle handle, const TransactionId& transaction);
    /// The transactions whose business rows are committed now; nothing when the transaction is gone (crash, dead client).
    std::optional<std::vector<TransactionId>> commit(Handle handle);
    void roll_back(Handle handle) { open_.erase(handle); }
    [[nodiscard]] bool is_open(Handle handle) const { return open_.contains(handle); }

    /// Every open transaction is gone.
    void restart() { open_.clear(); }
    /// Remembers the state that a lagging standby would have.
    void mark_standby() { standby_ = state_; }
    /// The standby takes over. Returns the transactions about which the database now knows less.
    std::set<TransactionId> fail_over();
    /// The watermark moves, then rows of older transactions go.
    void move_watermark(SystemTime to) { state_.watermark = std::max(state_.watermark, to); }
    void purge();

private:
    struct State {
        std::map<TransactionId, txmsg::Verdict> verdicts = {};
        std::set<TransactionId> business = {};
        SystemTime watermark = {};
    };
    struct Open {
        std::map<TransactionId, txmsg::Verdict> verdicts = {};
        std::vector<TransactionId> business = {};
    };

    std::string uuid_;
    State state_;
    std::optional<State> standby_;
    std::map<Handle, Open> open_;
    Handle last_ = 0;
};

}  // namespace hufu::simulation
