#include "consumer_migration.hpp"

namespace hufu::sqlite {

outbox::Migration create_consumer_memory() {
    return {5,
            "create_consumer_memory",
            {
                "create table if not exists hufu_consumer_parked(\n"
                "  consumer_group text not null,\n"
                "  topic text not null,\n"
                "  ordering_key text not null,\n"
                "  first_id blob not null,\n"
                "  reason text not null,\n"
                "  parked_at_us integer not null,\n"
                "  primary key(consumer_group, topic, ordering_key)) without rowid",
                "create table if not exists hufu_consumer_attempt(\n"
                "  consumer_group text not null,\n"
                "  message_id blob not null,\n"
                "  starts integer not null,\n"
                "  started_at_us integer not null,\n"
                "  primary key(consumer_group, message_id)) without rowid",
                "insert or ignore into hufu_schema(version, name, applied_at_us) values (5, 'create_consumer_memory', "
                "cast(strftime('%s', 'now') as integer) * 1000000)",
            }};
}

}  // namespace hufu::sqlite
