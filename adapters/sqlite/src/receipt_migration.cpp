#include "receipt_migration.hpp"

namespace hufu::sqlite {

outbox::Migration create_receipts() {
    return {
        4,
        "create_receipts",
        {
            // Written in the transaction of the lane row; leaves when it is completed or discarded. `asked` is the header's
            // value, `groups` its names joined by commas.
            "create table if not exists hufu_awaiting(\n"
            "  id blob primary key,\n"
            "  created_at_us integer not null,\n"
            "  topic text not null,\n"
            "  tag text not null,\n"
            "  keys text not null,\n"
            "  ordering_key text not null,\n"
            "  headers blob not null,\n"
            "  body blob not null,\n"
            "  asked text not null,\n"
            "  groups text not null)",
            "create table if not exists hufu_awaiting_due(\n"
            "  id blob primary key,\n"
            "  due_at_us integer not null,\n"
            "  sends integer not null) without rowid",
            "create index if not exists hufu_awaiting_due_at on hufu_awaiting_due(due_at_us)",
            "create table if not exists hufu_awaiting_parked(\n"
            "  id blob primary key,\n"
            "  parked_at_us integer not null,\n"
            "  reason text not null) without rowid",
            "create table if not exists hufu_receipt(\n"
            "  id blob not null,\n"
            "  consumer_group text not null,\n"
            "  outcome text not null,\n"
            "  reason text not null,\n"
            "  at_us integer not null,\n"
            "  primary key(id, consumer_group)) without rowid",
            "create table if not exists hufu_awaiting_log(\n"
            "  number integer primary key autoincrement,\n"
            "  id blob not null,\n"
            "  at_us integer not null,\n"
            "  what text not null,\n"
            "  detail text not null)",
            "create index if not exists hufu_awaiting_log_id on hufu_awaiting_log(id)",
            "create table if not exists hufu_awaited(\n"
            "  id blob primary key,\n"
            "  created_at_us integer not null,\n"
            "  ended_at_us integer not null,\n"
            "  topic text not null,\n"
            "  keys text not null,\n"
            "  ordering_key text not null,\n"
            "  state text not null) without rowid",
            "create index if not exists hufu_awaited_ended on hufu_awaited(ended_at_us)",
            "insert or ignore into hufu_schema(version, name, applied_at_us) values (4, 'create_receipts', "
            "cast(strftime('%s', 'now') as integer) * 1000000)",
        }};
}

}  // namespace hufu::sqlite
