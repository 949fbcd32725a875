#include <hufu/postgres/verdicts.hpp>

#include <utility>

#include <hufu/postgres/schema.hpp>
#include <hufu/txmsg/fenced_check.hpp>

namespace hufu::postgres {
namespace {

using txmsg::Seen;
using txmsg::Tombstone;
using txmsg::TransactionId;
using txmsg::Verdict;

constexpr std::string_view admit_sql =
    "select pg_is_in_recovery(), s.uuid, s.system_identifier = c.system_identifier::text, s.system_identifier "
    "from hufu.verdict_store s, pg_control_system() c";
constexpr std::string_view insert_sql =
    "insert into hufu.verdict(tx_id, verdict, decided_by) values ($1::uuid, 'rollback', 'check') on conflict do nothing";
constexpr std::string_view read_sql =
    "select s.watermark_ms, (select v.verdict from hufu.verdict v where v.tx_id = $1::uuid) from hufu.verdict_store s";
// The former watermark counts as seen by all when whoever moved it is older than every running transaction.
constexpr std::string_view settle_sql =
    "update hufu.verdict_store set purged_ms = watermark_ms "
    "where purged_ms < watermark_ms and moved_by < pg_snapshot_xmin(pg_current_snapshot())";
// Not again before the former one counts: a long transaction would see its watermark run away for ever.
constexpr std::string_view move_sql =
    "update hufu.verdict_store set moved_by = pg_current_xact_id(), "
    "watermark_ms = (extract(epoch from clock_timestamp()) * 1000)::bigint - $1::bigint where purged_ms = watermark_ms "
    "and watermark_ms < (extract(epoch from clock_timestamp()) * 1000)::bigint - $1::bigint";
constexpr std::string_view watermark_sql = "select watermark_ms, purged_ms from hufu.verdict_store";
constexpr std::string_view delete_sql =
    "with cut as materialized (select purged_ms as ms, (lpad(to_hex(purged_ms), 12, '0') || repeat('0', 20))::uuid as id "
    "from hufu.verdict_store) delete from hufu.verdict where tx_id = any(array(select v.tx_id from hufu.verdict v, cut "
    "where v.tx_id < cut.id and v.decided_at < to_timestamp(cut.ms / 1000.0) order by v.tx_id limit $1::bigint))";

Error no_store(const Connection& connection) {
    return Error{ErrorCode::wrong_version, Disposition::fatal,
                 "the verdict store of " + connection.peer() +
                     " has no identity (table hufu.verdict_store is empty): restore its row, or give it a new identity by "
                     "`insert into hufu.verdict_store(system_identifier, watermark_ms) select system_identifier::text, "
                     "extract(epoch from clock_timestamp())::bigint * 1000 from pg_control_system()`"};
}

class CheckerRows final : public txmsg::VerdictRows {
public:
    explicit CheckerRows(Connection& connection) : connection_{connection} {}

    Result<void> begin() override { return simple("begin isolation level read committed read write"); }

    Result<Tombstone> insert_tombstone(const TransactionId& transaction) override {
        Parameters parameters;
        parameters.add_uuid(transaction);
        const Step step{.sql = insert_sql, .parameters = &parameters};
        const Flight flight = connection_.fly({&step, 1});
        if (!flight.failed) {
            return flight.answers.front().touched() == 1 ? Tombstone::inserted : Tombstone::present;
        }
        if (flight.sqlstate == "55P03") return Tombstone::locked;
        if (flight.sqlstate == "40001" || flight.sqlstate == "40P01") return Tombstone::again;
        return flight.error;
    }

    Result<txmsg::VerdictRow> read(const TransactionId& transaction) override {
        Parameters parameters;
        parameters.add_uuid(transaction);
        const auto rows = connection_.run(read_sql, parameters);
        if (!rows) return rows.error();
        if (rows->size() == 0) return no_store(connection_);
        txmsg::VerdictRow row{std::nullopt, SystemTime{std::chrono::milliseconds{rows->int8(0, 0)}}};
        if (!rows->is_null(0, 1)) row.verdict = rows->text(0, 1) == "commit" ? Verdict::commit : Verdict::rollback;
        return row;
    }

    Result<void> commit() override { return simple("commit"); }
    void roll_back() noexcept override { (void)simple("rollback"); }

private:
    Result<void> simple(std::string_view sql) {
        const auto done = connection_.run(sql);
        return done ? Result<void>{} : Result<void>{done.error()};
    }

    Connection& connection_;
};

}  // namespace

VerdictStore::VerdictStore(std::string url, VerdictStoreOptions options) : url_{std::move(url)}, options_{options} {}
VerdictStore::~VerdictStore() = default;

Result<void> VerdictStore::admit(Connection& connection) {
    if (auto fits = check_schema(connection); !fits) return fits;
    const auto rows = connection.run(admit_sql);
    if (!rows) return rows.error();
    if (rows->size() == 0) return no_store(connection);
    if (rows->boolean(0, 0)) {
        return Error{ErrorCode::fenced, Disposition::retry,
                     "PostgreSQL at " + connection.peer() +
                         " is a standby and answers no checks: what it does not have may be committed on the primary"};
    }
    if (!rows->boolean(0, 2)) {
        return Error{ErrorCode::fenced, Disposition::fatal,
                     "the verdict table of " + connection.peer() + " was restored from another server (" +
                         std::string{rows->text(0, 3)} +
                         "): run `select hufu.adopt_verdicts(true)` if this database is a copy, (false) if it takes the "
                         "other one's place"};
    }
    const std::lock_guard lock{mutex_};
    uuid_ = rows->uuid(0, 1).to_string();
    return {};
}

Result<std::unique_ptr<Connection>> VerdictStore::take() {
    {
        const std::lock_guard lock{mutex_};
        while (!idle_.empty()) {
            auto connection = std::move(idle_.back());
            idle_.pop_back();
            if (connection->usable()) return connection;
        }
    }
    ConnectionOptions options;
    options.application_name = "hufu-verdicts";
    options.answer_timeout = options_.wait_most + options_.answer_timeout;
    auto opened = Connection::open(url_, options);
    if (!opened) return opened.error();
    if (auto admitted = admit(**opened); !admitted) return admitted.error();
    // A verdict that the server could forget in a crash is none.
    if (auto set = (*opened)->run_script("set lock_timeout = '" + std::to_string(options_.wait_most.count()) +
                                         "ms'; set synchronous_commit = on");
        !set) {
        return set.error();
    }
    return opened;
}

void VerdictStore::give(std::unique_ptr<Connection> connection) {
    if (!connection->usable() || connection->in_transaction()) return;
    const std::lock_guard lock{mutex_};
    idle_.push_back(std::move(connection));
}

template <class Value, class Ask>
Result<Value> VerdictStore::on_connection(const Ask& ask) {
    for (bool again = true;; again = false) {
        auto connection = take();
        if (!connection) return connection.error();
        Result<Value> answer = ask(**connection);
        const bool alive = (*connection)->usable();
        give(std::move(*connection));
        if (answer || alive || !again) return answer;
        // The server was restarted under connections that were idle. What is asked here may be asked twice.
        const std::lock_guard lock{mutex_};
        idle_.clear();
    }
}

Result<std::string> VerdictStore::uuid() {
    return on_connection<std::string>([&](Connection& connection) -> Result<std::string> {
        if (auto admitted = admit(connection); !admitted) return admitted.error();
        const std::lock_guard lock{mutex_};
        return uuid_;
    });
}

Result<Seen> VerdictStore::check(const TransactionId& transaction) {
    return on_connection<Seen>([&](Connection& connection) {
        CheckerRows rows{connection};
        return txmsg::run_check(txmsg::FencedCheck{transaction}, rows);
    });
}

Result<std::optional<Seen>> VerdictStore::look(const TransactionId& transaction) {
    const auto row =
        on_connection<txmsg::VerdictRow>([&](Connection& connection) { return CheckerRows{connection}.read(transaction); });
    if (!row) return row.error();
    if (!row->verdict) return std::optional<Seen>{};
    return std::optional{*row->verdict == Verdict::commit ? Seen::committed : Seen::rolled_back};
}

Result<txmsg::Purged> VerdictStore::purge(std::chrono::hours retention) {
    if (retention < std::chrono::hours{1}) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "verdict retention of " + std::to_string(retention.count()) +
                         " hours is shorter than brokers may ask: keep verdicts longer than a transaction may stay parked"};
    }
    auto connection = take();
    if (!connection) return connection.error();
    auto run = [&connection](std::string_view sql, const Parameters& parameters = {}) {
        return (*connection)->run(sql, parameters);
    };
    if (auto settled = run(settle_sql); !settled) return settled.error();
    const auto retention_ms = std::chrono::duration_cast<std::chrono::milliseconds>(retention).count();
    if (auto moved = run(move_sql, parameters(static_cast<std::int64_t>(retention_ms))); !moved) return moved.error();
    const auto deadline = system_clock().steady_now() + options_.purge_wait;
    txmsg::Purged purged;
    for (;;) {
        if (auto settled = run(settle_sql); !settled) return settled.error();
        const auto marks = run(watermark_sql);
        if (!marks) return marks.error();
        if (marks->size() == 0) return no_store(**connection);
        purged.watermark = SystemTime{std::chrono::milliseconds{marks->int8(0, 0)}};
        purged.finished = marks->int8(0, 0) == marks->int8(0, 1);
        const auto now = system_clock().steady_now();
        if (purged.finished || now >= deadline) break;
        system_clock().sleep_until(now + std::chrono::milliseconds{20}, {});
    }
    const auto rows = delete_purged(**connection);
    if (!rows) return rows.error();
    purged.rows = *rows;
    give(std::move(*connection));
    return purged;
}

Result<std::uint64_t> VerdictStore::delete_purged(Connection& connection) {
    std::uint64_t rows = 0;
    for (;;) {
        const auto gone = connection.run(delete_sql, parameters(options_.purge_batch));
        if (!gone) return gone.error();
        rows += static_cast<std::uint64_t>(gone->touched());
        if (gone->touched() < options_.purge_batch) return rows;
    }
}

}  // namespace hufu::postgres
