// The history of the schema. A released step is never edited; a correction is a new step.
#include <hufu/postgres/schema.hpp>

#include <vector>

#include "consumer_migration.hpp"
#include "guard_migration.hpp"
#include "receipt_migration.hpp"

namespace hufu::postgres {
namespace {

// The columns of a message are never null, empty is "none": so every path reads and writes them alike.
// Headers are a list of (length, name, length, value), lengths as 4 bytes, big end first.
outbox::Migration create_outbox() {
    return {
        1,
        "create_outbox",
        {
            "set local lock_timeout = '5s'",
            "create schema if not exists hufu",
            "create table if not exists hufu.schema_migration(version int primary key, name text not null, "
            "applied_at timestamptz not null default clock_timestamp())",
            // cache 1: more would hand out blocks per session and reorder messages across sessions
            "create sequence if not exists hufu.outbox_0_seq as bigint cache 1",
            R"(create or replace function hufu.outbox_0_asynchronous_seq() returns bigint language plpgsql as $$
begin
    if coalesce(current_setting('hufu.allow_asynchronous_commit', true), '') = 'on' then
        return nextval('hufu.outbox_0_seq');
    end if;
    raise exception using errcode = 'HF001',
        message = 'append to the outbox refused: synchronous_commit is off in this transaction, so a crash of the server '
                  'could forget a message that was already sent; set synchronous_commit to on, or allow it with '
                  'hufu.allow_asynchronous_commit = on (OutboxOptions::allow_asynchronous_commit)';
end $$)",
            // The default draws the transaction's number before the sequence number, whoever inserts: the relay's rule
            // that a hole below a settled transaction's number is dead rests on it. CASE fixes the order.
            R"(create table if not exists hufu.outbox_0(
    seq bigint primary key default case
        when pg_current_xact_id() is null then null
        when current_setting('synchronous_commit') = 'off' then hufu.outbox_0_asynchronous_seq()
        else nextval('hufu.outbox_0_seq') end,
    created_at timestamptz not null default clock_timestamp(),
    message_id uuid not null,
    topic text not null,
    tag text not null default '',
    keys text not null default '',
    ordering_key text not null default '',
    headers bytea not null default '',
    body bytea not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000))",
            "alter table hufu.outbox_0 alter column body set storage external",
            R"(create table if not exists hufu.parked_0(
    seq bigint primary key,
    created_at timestamptz not null,
    message_id uuid not null,
    topic text not null,
    tag text not null,
    keys text not null,
    ordering_key text not null,
    headers bytea not null,
    body bytea not null,
    attempts bigint not null,
    reason text not null,
    released boolean not null,
    parked_at timestamptz not null default clock_timestamp()
))",
            "create index if not exists parked_0_key on hufu.parked_0(topic, ordering_key, seq)",
            R"(create table if not exists hufu.delayed_0(
    due_at timestamptz not null,
    id bigint generated always as identity,
    created_at timestamptz not null default clock_timestamp(),
    message_id uuid not null,
    topic text not null,
    tag text not null,
    keys text not null,
    ordering_key text not null,
    headers bytea not null,
    body bytea not null,
    primary key (due_at, id)
))",
            "create table if not exists hufu.lane(lane int primary key, epoch bigint not null default 0, "
            "owner text not null default '', lease_until timestamptz not null default '-infinity')",
            "insert into hufu.lane(lane) values (0) on conflict do nothing",
            R"(create table if not exists hufu.audit(
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    lane int not null,
    action text not null,
    topic text not null,
    ordering_key text not null,
    seq bigint,
    rows bigint not null,
    who text not null,
    why text not null
))",
            R"(create or replace function hufu.append(message_id uuid, topic text, tag text, keys text, ordering_key text,
    headers bytea, body bytea, deliver_at timestamptz) returns void language plpgsql as $$
begin
    if append.deliver_at > clock_timestamp() then
        if current_setting('synchronous_commit') = 'off' then
            perform hufu.outbox_0_asynchronous_seq();
        end if;
        insert into hufu.delayed_0(due_at, message_id, topic, tag, keys, ordering_key, headers, body)
        values (append.deliver_at, append.message_id, append.topic, append.tag, append.keys, append.ordering_key,
                append.headers, append.body);
    else
        insert into hufu.outbox_0(message_id, topic, tag, keys, ordering_key, headers, body)
        values (append.message_id, append.topic, append.tag, append.keys, append.ordering_key, append.headers, append.body);
    end if;
end $$)",
            // RFC 9562, version 7: 48 bits of milliseconds, the rest random.
            R"(create or replace function hufu.new_message_id() returns uuid language sql volatile as $$
    select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid
$$)",
            R"(create or replace function hufu.publish(topic text, body bytea, ordering_key text default '',
    tag text default '', keys text[] default '{}', headers jsonb default '{}', deliver_at timestamptz default null,
    message_id uuid default null) returns uuid language plpgsql as $$
declare
    id uuid := coalesce(publish.message_id, hufu.new_message_id());
    packed bytea;
begin
    if publish.topic is null or publish.topic !~ '^[%|a-zA-Z0-9_-]{1,127}$' then
        raise exception using errcode = 'HF002', message = format(
            'topic "%s" is not allowed: use 1 to 127 characters of %%|a-zA-Z0-9_-', publish.topic);
    elsif publish.body is null then
        raise exception using errcode = 'HF002', message = 'body is null: pass an empty bytea for an empty message';
    elsif publish.tag like '%||%' or publish.tag ~ '[\x01\x02]' then
        raise exception using errcode = 'HF002', message = format('tag "%s" contains "||" or a control character', publish.tag);
    elsif octet_length(publish.ordering_key) > 255 or publish.ordering_key ~ '[\x01\x02]' then
        raise exception using errcode = 'HF002', message = format(
            'ordering key "%s" is longer than 255 bytes or contains a control character', left(publish.ordering_key, 40));
    elsif exists (select from unnest(publish.keys) as key where key is null or key = '' or key ~ '[ \x01\x02]') then
        raise exception using errcode = 'HF002', message = 'a key is empty or contains a space or control character';
    elsif exists (select from jsonb_each_text(publish.headers) as h where h.key = '' or h.key ~ '[\x01\x02]'
                  or coalesce(h.value, '') ~ '[\x01\x02]') then
        raise exception using errcode = 'HF002', message = 'a header has no name or contains the control characters 1 or 2';
    end if;
    select string_agg(int4send(octet_length(h.key)) || convert_to(h.key, 'UTF8') ||
                      int4send(octet_length(coalesce(h.value, ''))) || convert_to(coalesce(h.value, ''), 'UTF8'), ''::bytea)
        into packed from jsonb_each_text(publish.headers) as h;
    perform hufu.append(id, publish.topic, coalesce(publish.tag, ''), coalesce(array_to_string(publish.keys, ' '), ''),
                        coalesce(publish.ordering_key, ''), coalesce(packed, ''::bytea), publish.body, publish.deliver_at);
    return id;
end $$)",
            "insert into hufu.schema_migration(version, name) values (1, 'create_outbox') on conflict do nothing",
        }};
}

outbox::Migration create_guard() {
    return {
        2,
        "create_guard",
        {
            "set local lock_timeout = '5s'",
            R"(create table if not exists hufu.guard(
    consumer_group text not null,
    message_id uuid not null,
    seen_at timestamptz not null default clock_timestamp(),
    result bytea not null default '',
    primary key (consumer_group, message_id)
))",
            "create table if not exists hufu.guard_horizon(consumer_group text primary key, horizon timestamptz not null)",
            "insert into hufu.schema_migration(version, name) values (2, 'create_guard') on conflict do nothing",
        }};
}

outbox::Migration create_verdict() {
    return {
        3,
        "create_verdict",
        {
            "set local lock_timeout = '5s'",
            R"(create table if not exists hufu.verdict(
    tx_id uuid primary key,
    verdict text not null check (verdict in ('commit', 'rollback')),
    decided_at timestamptz not null default clock_timestamp(),
    decided_by text not null default ''
))",
            // One row. Transactions whose id is of a time before the watermark may have been purged; `purged_ms` is how far
            // purging may go by now: everybody who could still see an older watermark has ended (`moved_by`).
            R"(create table if not exists hufu.verdict_store(
    only_row boolean primary key default true check (only_row),
    uuid uuid not null default gen_random_uuid(),
    system_identifier text not null,
    watermark_ms bigint not null default 0,
    moved_by xid8 not null default '0',
    purged_ms bigint not null default 0
))",
            "insert into hufu.verdict_store(system_identifier) select system_identifier::text from pg_control_system() "
            "on conflict do nothing",
            // The time in a UUIDv7, in milliseconds; 0 for ids of other kinds.
            R"(create or replace function hufu.minted_ms(id uuid) returns bigint language sql immutable strict as $$
    select case when get_byte(uuid_send(id), 6) >> 4 = 7
                then ('x' || encode(substring(uuid_send(id) from 1 for 6), 'hex'))::bit(48)::bigint else 0 end
$$)",
            R"(create or replace function hufu.open_verdict(transaction_id uuid) returns void language plpgsql as $$
declare
    mark bigint;
begin
    if current_setting('synchronous_commit') = 'off'
       and coalesce(current_setting('hufu.allow_asynchronous_commit', true), '') <> 'on' then
        raise exception using errcode = 'HF001',
            message = 'transaction message refused: synchronous_commit is off in this transaction, so a crash of the server '
                      'could forget rows whose message is already visible; set synchronous_commit to on, or allow it with '
                      'hufu.allow_asynchronous_commit = on';
    end if;
    insert into hufu.verdict(tx_id, verdict, decided_by) values (transaction_id, 'commit', 'local transaction')
        on conflict do nothing;
    if not found then
        raise exception using errcode = 'HF003', message = format(
            'transaction %s must not commit any more: its verdict is decided (a check-back found it not committed and '
            'rolled it back, or the id was used before); send the messages again as a new transaction', transaction_id);
    end if;
    select watermark_ms into strict mark from hufu.verdict_store;
    if hufu.minted_ms(transaction_id) < mark then
        raise exception using errcode = 'HF003', message = format(
            'transaction %s must not commit any more: its id is older than the verdicts that are kept (since %s); send the '
            'messages again as a new transaction, and see that the clocks of producer and database agree',
            transaction_id, to_timestamp(mark / 1000.0));
    end if;
end $$)",
            // For a database that was restored from a dump of another server: `true` makes it a store of its own (a copy),
            // `false` lets it take that one's place.
            R"(create or replace function hufu.adopt_verdicts(as_new_store boolean) returns uuid language sql as $$
    update hufu.verdict_store set
        uuid = case when as_new_store then gen_random_uuid() else uuid end,
        system_identifier = (select c.system_identifier::text from pg_control_system() c)
    returning uuid
$$)",
            "insert into hufu.schema_migration(version, name) values (3, 'create_verdict') on conflict do nothing",
        }};
}

outbox::Migration create_fence() {
    return {
        4,
        "create_fence",
        {
            "set local lock_timeout = '5s'",
            "create table if not exists hufu.fence(name text primary key, token bigint not null)",
            // The guard as the first statement of a flight: what follows it in the flight is skipped when it raises.
            R"(create or replace function hufu.guard_first(consumer_group text, message_id uuid, first_stored_at timestamptz)
    returns void language plpgsql as $$
declare
    low timestamptz;
begin
    insert into hufu.guard(consumer_group, message_id) values (guard_first.consumer_group, guard_first.message_id)
        on conflict do nothing;
    if not found then
        raise exception using errcode = 'HF005', message = format(
            'message %s has been handled by group "%s" already', guard_first.message_id, guard_first.consumer_group);
    end if;
    select h.horizon into low from hufu.guard_horizon h where h.consumer_group = guard_first.consumer_group;
    if low > guard_first.first_stored_at then
        raise exception using errcode = 'HF004', message = format(
            'message %s was first stored at %s, before the horizon of group "%s" (%s): its guard row may have been purged, so '
            'it is not run; check by hand whether its effect exists, and keep guards longer than messages can live',
            guard_first.message_id, guard_first.first_stored_at, guard_first.consumer_group, low);
    end if;
end $$)",
            "insert into hufu.schema_migration(version, name) values (4, 'create_fence') on conflict do nothing",
        }};
}

}  // namespace

std::span<const outbox::Migration> migrations() {
    static const std::vector<outbox::Migration> all{create_outbox(),
                                                    create_guard(),
                                                    create_verdict(),
                                                    create_fence(),
                                                    create_receipts(),
                                                    create_consumer_memory(),
                                                    create_guard_horizon_checks()};
    return all;
}

}  // namespace hufu::postgres
