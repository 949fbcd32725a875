#include <hufu/sqlite/verdicts.hpp>

#include <array>
#include <optional>
#include <utility>

#include <hufu/sqlite/schema.hpp>
#include <hufu/txmsg/fenced_check.hpp>

#include "error.hpp"
#include "message_row.hpp"
#include "verdict_row.hpp"

namespace hufu::sqlite {
namespace {

using txmsg::Seen;
using txmsg::Tombstone;
using txmsg::TransactionId;
using txmsg::Verdict;

Blob id_blob(const TransactionId& id) { return Blob{{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}}; }

SystemTime time_of_ms(std::int64_t ms) { return SystemTime{std::chrono::milliseconds{ms}}; }

std::int64_t ms_of(SystemTime time) { return microseconds_of(time) / 1'000; }

/// The lowest id of that millisecond, as it sorts.
TransactionId first_id_of(std::int64_t ms) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < 6; ++i) {
        bytes[i] = static_cast<std::uint8_t>(ms >> (40 - 8 * static_cast<int>(i)));
    }
    return TransactionId{bytes};
}

Error no_store(const std::string& path) {
    return Error{ErrorCode::wrong_version, Disposition::fatal,
                 "the verdict store of \"" + path +
                     "\" has no identity (table hufu_verdict_store is empty): restore its row, or give it a new uuid with a "
                     "watermark_ms of now"};
}

txmsg::VerdictRow row_in(Transaction& tx, const TransactionId& transaction) {
    auto mark = tx.query("select watermark_ms from hufu_verdict_store");
    if (!mark.step()) {
        throw Exception{no_store(tx.database().path())};
    }
    txmsg::VerdictRow row{std::nullopt, time_of_ms(mark.integer(0))};
    auto found = tx.query("select verdict from hufu_verdict where tx_id = ?", id_blob(transaction));
    if (found.step()) {
        row.verdict = found.view(0) == "commit" ? Verdict::commit : Verdict::rollback;
    }
    return row;
}

class CheckerRows final : public txmsg::VerdictRows {
public:
    explicit CheckerRows(Database& database) : database_{database} {}

    Result<void> begin() override {
        return caught<void>([&] { transaction_.emplace(database_); });
    }
    Result<Tombstone> insert_tombstone(const TransactionId& transaction) override {
        return caught<Tombstone>([&]() -> Result<Tombstone> {
            const auto rows = transaction_->execute(
                "insert into hufu_verdict(tx_id, verdict, decided_at_us, decided_by) values (?, 'rollback', ?, 'check') "
                "on conflict do nothing",
                id_blob(transaction), microseconds_of(database_.clock().system_now()));
            return rows == 1 ? Tombstone::inserted : Tombstone::present;
        });
    }
    Result<txmsg::VerdictRow> read(const TransactionId& transaction) override {
        return caught<txmsg::VerdictRow>([&]() -> Result<txmsg::VerdictRow> { return row_in(*transaction_, transaction); });
    }
    Result<void> commit() override {
        auto committed = caught<void>([&] { transaction_->commit(); });
        transaction_.reset();
        return committed;
    }
    void roll_back() noexcept override { transaction_.reset(); }

private:
    Database& database_;
    std::optional<Transaction> transaction_;
};

DatabaseOptions database_options(const VerdictStoreOptions& options) {
    return {.create = false, .busy_timeout = options.wait_most, .clock = options.clock};
}

}  // namespace

void open_verdict(Transaction& tx, const TransactionId& transaction) {
    const auto rows = tx.execute(
        "insert into hufu_verdict(tx_id, verdict, decided_at_us, decided_by) values (?, 'commit', ?, 'local transaction') "
        "on conflict do nothing",
        id_blob(transaction), microseconds_of(tx.database().clock().system_now()));
    const std::string named = "transaction " + transaction.to_string() + " must not commit any more: ";
    if (rows == 0) {
        throw Exception{Error{ErrorCode::conflict, Disposition::reject,
                              named +
                                  "its verdict is decided (a check-back found it not committed and rolled it back, or the "
                                  "id was used before); send the messages again as a new transaction"}};
    }
    if (txmsg::begun_at(transaction) < row_in(tx, transaction).watermark) {
        throw Exception{Error{ErrorCode::conflict, Disposition::reject,
                              named + "its id is older than the verdicts that are kept; send the messages again as a new "
                                      "transaction, and see that the clock is right"}};
    }
}

VerdictStore::VerdictStore(std::string path, VerdictStoreOptions options)
    : database_{std::move(path), database_options(options)}, options_{options} {}

Result<std::string> VerdictStore::uuid() {
    if (const auto fits = check_schema(database_); !fits) {
        return fits.error();
    }
    return caught<std::string>([&]() -> Result<std::string> {
        Transaction tx{database_, Transaction::Access::read};
        auto rows = tx.query("select uuid from hufu_verdict_store");
        return rows.step() ? Result<std::string>{rows.text(0)} : Result<std::string>{no_store(database_.path())};
    });
}

Result<Seen> VerdictStore::check(const TransactionId& transaction) {
    CheckerRows rows{database_};
    auto seen = txmsg::run_check(txmsg::FencedCheck{transaction}, rows);
    if (!seen && seen.error().code() == ErrorCode::busy) {
        return Seen::ongoing;  // somebody writes, perhaps this very transaction
    }
    if (!seen && seen.error().text().find("no such table") != std::string::npos) {
        const auto fits = check_schema(database_);
        return fits ? seen : Result<Seen>{fits.error()};
    }
    return seen;
}

Result<std::optional<Seen>> VerdictStore::look(const TransactionId& transaction) {
    return caught<std::optional<Seen>>([&]() -> Result<std::optional<Seen>> {
        Transaction tx{database_, Transaction::Access::read};
        const auto row = row_in(tx, transaction);
        if (!row.verdict) {
            return std::optional<Seen>{};
        }
        return std::optional{*row.verdict == Verdict::commit ? Seen::committed : Seen::rolled_back};
    });
}

Result<txmsg::Purged> VerdictStore::purge(std::chrono::hours retention) {
    if (retention < std::chrono::hours{1}) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "verdict retention of " + std::to_string(retention.count()) +
                         " hours is shorter than brokers may ask: keep verdicts longer than a transaction may stay parked"};
    }
    return caught<txmsg::Purged>([&]() -> Result<txmsg::Purged> {
        std::int64_t mark = ms_of(database_.clock().system_now() - retention);
        {
            // The watermark first: a crash after it says too little, never something wrong.
            Transaction tx{database_};
            tx.execute("update hufu_verdict_store set watermark_ms = max(watermark_ms, ?)", mark);
            auto rows = tx.query("select watermark_ms from hufu_verdict_store");
            if (!rows.step()) {
                return no_store(database_.path());
            }
            mark = rows.integer(0);
            tx.commit();
        }
        txmsg::Purged purged{0, time_of_ms(mark), true};
        for (;;) {
            Transaction tx{database_};
            const auto gone = tx.execute(
                "delete from hufu_verdict where tx_id in (select tx_id from hufu_verdict where tx_id < ? and "
                "decided_at_us < ? order by tx_id limit ?)",
                id_blob(first_id_of(mark)), mark * 1'000, options_.purge_batch);
            tx.commit();
            purged.rows += static_cast<std::uint64_t>(gone);
            if (gone < options_.purge_batch) {
                return purged;
            }
        }
    });
}

}  // namespace hufu::sqlite
