#include <hufu/sqlite/schema.hpp>

#include <string>

#include <hufu/core/mutant.hpp>

#include "error.hpp"
#include "consumer_migration.hpp"
#include "receipt_migration.hpp"

namespace hufu::sqlite {
namespace {

std::string recorded(int version, const std::string& name) {
    return "insert or ignore into hufu_schema(version, name, applied_at_us) values (" + std::to_string(version) + ", '" +
           name + "', cast(strftime('%s', 'now') as integer) * 1000000)";
}

constexpr const char* version_table =
    "create table if not exists hufu_schema(\n"
    "  version integer primary key,\n"
    "  name text not null,\n"
    "  applied_at_us integer not null)";

outbox::Migration create_outbox() {
    const std::string message_columns =
        "  id blob not null,\n"
        "  created_at_us integer not null,\n"
        "  topic text not null,\n"
        "  tag text not null,\n"
        "  keys text not null,\n"
        "  ordering_key text not null,\n"
        "  headers blob not null,\n"
        "  body blob not null";
    // AUTOINCREMENT: SQLite would otherwise give the number of a deleted highest row to the next one, which a relay that
    // remembers how far it has read would never see.
    const std::string sequence =
        mutant_active("reused_sqlite_rowid") ? "  seq integer primary key,\n" : "  seq integer primary key autoincrement,\n";
    return {1,
            "create_outbox",
            {
                version_table,
                "create table if not exists hufu_outbox(\n" + sequence + message_columns + ")",
                "create table if not exists hufu_delayed(\n  number integer primary key autoincrement,\n"
                "  due_at_us integer not null,\n" +
                    message_columns + ")",
                "create index if not exists hufu_delayed_due on hufu_delayed(due_at_us)",
                "create table if not exists hufu_parked(\n  seq integer primary key,\n" + message_columns +
                    ",\n  attempts integer not null,\n  reason text not null,\n  parked_at_us integer not null,\n"
                    "  released integer not null)",
                "create index if not exists hufu_parked_key on hufu_parked(topic, ordering_key, seq)",
                "create table if not exists hufu_parking_audit(\n"
                "  number integer primary key autoincrement,\n"
                "  at_us integer not null,\n"
                "  action text not null,\n"
                "  topic text not null,\n"
                "  ordering_key text not null,\n"
                "  seq integer,\n"
                "  rows integer not null,\n"
                "  who text not null,\n"
                "  why text not null)",
                "create table if not exists hufu_lane(\n"
                "  lane integer primary key,\n"
                "  identity text not null,\n"
                "  epoch integer not null,\n"
                "  owner text,\n"
                "  lease_until_us integer not null)",
                "insert or ignore into hufu_lane(lane, identity, epoch, owner, lease_until_us)\n"
                "values (0, lower(hex(randomblob(16))), 0, null, 0)",
                recorded(1, "create_outbox"),
            }};
}

outbox::Migration create_guard() {
    return {2,
            "create_guard",
            {
                // Without rowid: rows lie in the order of group and id, and ids are time-ordered, so inserts stay dense.
                "create table if not exists hufu_guard(\n"
                "  consumer_group text not null,\n"
                "  message_id blob not null,\n"
                "  seen_at_us integer not null,\n"
                "  result blob not null,\n"
                "  primary key(consumer_group, message_id)) without rowid",
                "create table if not exists hufu_guard_horizon(\n"
                "  consumer_group text primary key,\n"
                "  horizon_us integer not null) without rowid",
                recorded(2, "create_guard"),
            }};
}

outbox::Migration create_verdict() {
    return {
        3,
        "create_verdict",
        {
            "create table if not exists hufu_verdict(\n"
            "  tx_id blob primary key,\n"
            "  verdict text not null check (verdict in ('commit', 'rollback')),\n"
            "  decided_at_us integer not null,\n"
            "  decided_by text not null) without rowid",
            // One row. The file's inode is no part of the identity: a file that was copied by hand is a copy to a person
            // only, who gives it an identity of its own (docs/transactions.md).
            "create table if not exists hufu_verdict_store(\n"
            "  only_row integer primary key check (only_row = 1),\n"
            "  uuid text not null,\n"
            "  watermark_ms integer not null)",
            "insert or ignore into hufu_verdict_store(only_row, uuid, watermark_ms)\n"
            "select 1, substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-8' || substr(h, 18, 3) "
            "|| '-' || substr(h, 21, 12), 0 from (select lower(hex(randomblob(16))) as h)",
            recorded(3, "create_verdict"),
        }};
}

int version_in(Transaction& tx) {
    if (!tx.query("select 1 from sqlite_master where type = 'table' and name = 'hufu_schema'").step()) {
        return 0;
    }
    auto rows = tx.query("select coalesce(max(version), 0) from hufu_schema");
    rows.step();
    return static_cast<int>(rows.integer(0));
}

Error newer(const Database& database, int found, int expected) {
    return Error{ErrorCode::wrong_version, Disposition::fatal,
                 "database \"" + database.path() + "\" has schema version " + std::to_string(found) +
                     ", made by a newer program; this one works with version " + std::to_string(expected) +
                     ": use the newer program"};
}

}  // namespace

std::vector<outbox::Migration> migrations() {
    return {create_outbox(), create_guard(), create_verdict(), create_receipts(), create_consumer_memory()};
}

Result<int> migrate(Database& database) {
    return caught<int>([&]() -> Result<int> {
        const auto steps = migrations();
        Transaction tx{database};
        const int found = version_in(tx);
        if (found > outbox::latest_version(steps)) {
            return newer(database, found, outbox::latest_version(steps));
        }
        int applied = 0;
        for (const auto& step : steps) {
            if (step.number <= found) {
                continue;
            }
            for (const auto& statement : step.statements) {
                tx.execute(statement);
            }
            ++applied;
        }
        tx.commit();
        return applied;
    });
}

Result<int> schema_version(Database& database) {
    return caught<int>([&]() -> Result<int> {
        Transaction tx{database, Transaction::Access::read};
        return version_in(tx);
    });
}

Result<void> check_schema(Database& database) {
    const auto found = schema_version(database);
    if (!found) {
        return found.error();
    }
    const int expected = outbox::latest_version(migrations());
    if (*found > expected) {
        return newer(database, *found, expected);
    }
    if (*found < expected) {
        return Error{ErrorCode::wrong_version, Disposition::fatal,
                     "database \"" + database.path() + "\" has schema version " + std::to_string(*found) +
                         ", this program needs " + std::to_string(expected) +
                         ": run \"hufu outbox migrate --outbox sqlite:" + database.path() +
                         "\", or call hufu::sqlite::migrate at start"};
    }
    return {};
}

}  // namespace hufu::sqlite
