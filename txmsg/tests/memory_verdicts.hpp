// A verdict table in memory: committed rows, and rows of transactions that are open, which others wait for.
#pragma once

#include <map>
#include <optional>

#include <hufu/txmsg/fenced_check.hpp>
#include <hufu/txmsg/transaction.hpp>

namespace hufu::txmsg {

struct MemoryTable {
    std::map<TransactionId, Verdict> committed;
    std::map<TransactionId, const void*> open;  ///< who is inserting
    SystemTime watermark{};
    int effects = 0;  ///< business rows
};

/// A checker's transaction. A row that another one is inserting is `locked`: there is no time here to wait in.
class MemoryCheck final : public VerdictRows {
public:
    explicit MemoryCheck(MemoryTable& table) : table_{table} {}
    ~MemoryCheck() override { roll_back(); }
    MemoryCheck(const MemoryCheck&) = delete;
    MemoryCheck& operator=(const MemoryCheck&) = delete;

    Result<void> begin() override { return {}; }
    Result<Tombstone> insert_tombstone(const TransactionId& transaction) override {
        if (again > 0) {
            --again;
            return Tombstone::again;
        }
        if (table_.committed.contains(transaction)) {
            return Tombstone::present;
        }
        if (!table_.open.emplace(transaction, this).second) {
            return Tombstone::locked;
        }
        inserted_ = transaction;
        return Tombstone::inserted;
    }
    Result<VerdictRow> read(const TransactionId& transaction) override {
        VerdictRow row{std::nullopt, table_.watermark};
        if (inserted_) {
            row.verdict = Verdict::rollback;
        } else if (const auto found = table_.committed.find(transaction); found != table_.committed.end()) {
            row.verdict = found->second;
        }
        return row;
    }
    Result<void> commit() override {
        if (commit_error) {
            return *commit_error;
        }
        if (inserted_) {
            table_.committed.emplace(*inserted_, Verdict::rollback);
        }
        roll_back();
        return {};
    }
    void roll_back() noexcept override {
        if (inserted_) {
            table_.open.erase(*inserted_);
            inserted_.reset();
        }
    }

    int again = 0;  ///< how often the database wants the transaction run once more
    std::optional<Error> commit_error;

private:
    MemoryTable& table_;
    std::optional<TransactionId> inserted_;
};

/// A business transaction.
class MemoryLocal final : public LocalTransaction {
public:
    explicit MemoryLocal(MemoryTable& table) : table_{table} {}
    ~MemoryLocal() override { roll_back(); }
    MemoryLocal(const MemoryLocal&) = delete;
    MemoryLocal& operator=(const MemoryLocal&) = delete;

    Result<void> begin() override { return {}; }
    Result<void> insert_verdict(const TransactionId& transaction) override {
        if (table_.committed.contains(transaction) || !table_.open.emplace(transaction, this).second) {
            return Error{ErrorCode::conflict, Disposition::reject, "a tombstone is there"};
        }
        inserted_ = transaction;
        return {};
    }
    Result<void> commit() override {
        table_.committed.emplace(*inserted_, Verdict::commit);
        table_.effects += 1;
        roll_back();
        if (lose_answer) {
            return Error{ErrorCode::unavailable, Disposition::in_doubt, "the answer to COMMIT was lost"};
        }
        return {};
    }
    void roll_back() noexcept override {
        if (inserted_) {
            table_.open.erase(*inserted_);
            inserted_.reset();
        }
    }

    bool lose_answer = false;

private:
    MemoryTable& table_;
    std::optional<TransactionId> inserted_;
};

/// A UUIDv7 of that millisecond.
inline TransactionId transaction_of(std::chrono::milliseconds since_1970, std::uint8_t number = 1) {
    std::array<std::uint8_t, 16> bytes{};
    for (int i = 0; i < 6; ++i) {
        bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(since_1970.count() >> (40 - 8 * i));
    }
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[15] = number;
    return TransactionId{bytes};
}

}  // namespace hufu::txmsg
