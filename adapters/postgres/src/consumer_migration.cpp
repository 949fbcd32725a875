#include "consumer_migration.hpp"

namespace hufu::postgres {

outbox::Migration create_consumer_memory() {
    return {
        6,
        "create_consumer_memory",
        {
            "set local lock_timeout = '5s'",
            R"(create table if not exists hufu.consumer_parked(
    consumer_group text not null,
    topic text not null,
    ordering_key text not null,
    first_id uuid not null,
    reason text not null,
    parked_at timestamptz not null default clock_timestamp(),
    primary key (consumer_group, topic, ordering_key)
))",
            R"(create table if not exists hufu.consumer_attempt(
    consumer_group text not null,
    message_id uuid not null,
    starts int not null default 1,
    started_at timestamptz not null default clock_timestamp(),
    primary key (consumer_group, message_id)
))",
            "insert into hufu.schema_migration(version, name) values (6, 'create_consumer_memory') on conflict do nothing",
        }};
}

}  // namespace hufu::postgres
