#include "receipt_migration.hpp"

namespace hufu::postgres {
namespace {

// Everything that decides about one message (receipts in, re-sends out, parking) is serial under one advisory lock: two
// receipts that complete a message together must see each other, and nothing may be claimed for a re-send beside its last
// receipt. Each call takes a batch, so the lock is held for a few milliseconds.
#define HUFU_RECEIPT_LOCK "perform pg_advisory_xact_lock(7526764217133005);"

constexpr const char* tables[] = {
    // Written in the transaction of the lane row; leaves when it is completed or discarded. `asked` is the header's value.
    R"(create table if not exists hufu.awaiting(
    message_id uuid primary key,
    created_at timestamptz not null default clock_timestamp(),
    topic text not null,
    tag text not null,
    keys text not null,
    ordering_key text not null,
    headers bytea not null,
    body bytea not null,
    asked text not null,
    groups text[] not null,
    deadline_ms bigint not null,
    outcome_topic text not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000))",
    "alter table hufu.awaiting alter column body set storage external",
    // The clock of a message that was sent: a narrow row beside the wide one.
    R"(create table if not exists hufu.awaiting_due(
    message_id uuid primary key,
    due_at timestamptz not null,
    sends bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000))",
    "create index if not exists awaiting_due_at on hufu.awaiting_due(due_at)",
    "create table if not exists hufu.awaiting_parked(message_id uuid primary key, "
    "parked_at timestamptz not null default clock_timestamp(), reason text not null)",
    R"(create table if not exists hufu.receipt(
    message_id uuid not null,
    consumer_group text not null,
    outcome text not null check (outcome in ('done', 'refused')),
    reason text not null default '',
    at timestamptz not null default clock_timestamp(),
    primary key (message_id, consumer_group)
))",
    "create table if not exists hufu.awaiting_log(message_id uuid not null, at timestamptz not null default "
    "clock_timestamp(), what text not null, detail text not null default '')",
    "create index if not exists awaiting_log_message on hufu.awaiting_log(message_id)",
    R"(create table if not exists hufu.awaited(
    message_id uuid primary key,
    created_at timestamptz not null,
    ended_at timestamptz not null default clock_timestamp(),
    topic text not null,
    keys text not null,
    ordering_key text not null,
    state text not null
))",
};

constexpr const char* append = R"(create or replace function hufu.append_with_receipts(message_id uuid, topic text, tag text,
    keys text, ordering_key text, headers bytea, body bytea, deliver_at timestamptz, asked text) returns void
    language plpgsql as $$
begin
    insert into hufu.awaiting(message_id, topic, tag, keys, ordering_key, headers, body, asked, groups, deadline_ms, outcome_topic)
    values (append_with_receipts.message_id, append_with_receipts.topic, append_with_receipts.tag, append_with_receipts.keys,
            append_with_receipts.ordering_key, append_with_receipts.headers, append_with_receipts.body,
            append_with_receipts.asked, string_to_array(split_part(append_with_receipts.asked, ';', 2), ','),
            split_part(append_with_receipts.asked, ';', 3)::bigint, split_part(append_with_receipts.asked, ';', 7));
    perform hufu.append(append_with_receipts.message_id, append_with_receipts.topic, append_with_receipts.tag,
                        append_with_receipts.keys, append_with_receipts.ordering_key, append_with_receipts.headers,
                        append_with_receipts.body, append_with_receipts.deliver_at);
end $$)";

// For any language. The lane row is the last one whose number this session has drawn.
constexpr const char* publish = R"(create or replace function hufu.publish_with_receipts(topic text, body bytea,
    receipt_groups text[], ordering_key text default '', tag text default '', keys text[] default '{}',
    headers jsonb default '{}', deadline interval default '30 seconds', backoff_cap interval default '10 minutes',
    sends_max int default 8, receipts_topic text default 'hufu-receipts', outcome_topic text default '')
    returns uuid language plpgsql as $$
#variable_conflict use_variable
declare
    name constant text := '^[%|a-zA-Z0-9_-]{1,127}$';
    id uuid;
    asked text;
    deadline_ms bigint := extract(epoch from publish_with_receipts.deadline) * 1000;
    cap_ms bigint := extract(epoch from publish_with_receipts.backoff_cap) * 1000;
begin
    if coalesce(cardinality(receipt_groups), 0) not between 1 and 32
       or exists (select from unnest(receipt_groups) as g where g is null or g !~ name)
       or (select count(distinct g) from unnest(receipt_groups) as g) <> cardinality(receipt_groups) then
        raise exception using errcode = 'HF002', message = format('receipts: the groups "%s" must be 1 to 32 names of 1 to 127 '
            'characters of %%|a-zA-Z0-9_-, none twice', left(array_to_string(receipt_groups, ','), 80));
    elsif deadline_ms is null or deadline_ms < 1 or cap_ms < deadline_ms or cap_ms > 2592000000 then
        raise exception using errcode = 'HF002', message = format('receipts: deadline of %s ms must lie in the future, and '
            'backoff_cap of %s ms must be from there to 30 days', deadline_ms, cap_ms);
    elsif sends_max is null or sends_max not between 1 and 1000 then
        raise exception using errcode = 'HF002', message = format('receipts: sends_max of %s must be 1 to 1000', sends_max);
    elsif receipts_topic is null or receipts_topic !~ name or outcome_topic is null
          or (outcome_topic <> '' and outcome_topic !~ name) then
        raise exception using errcode = 'HF002', message = format('receipts: the topics "%s" and "%s" must be 1 to 127 '
            'characters of %%|a-zA-Z0-9_-; the second may be empty', left(receipts_topic, 40), left(outcome_topic, 40));
    end if;
    asked := concat_ws(';', '1', array_to_string(receipt_groups, ','), deadline_ms, cap_ms, sends_max, receipts_topic,
                       outcome_topic);
    id := hufu.publish(publish_with_receipts.topic, publish_with_receipts.body,
        ordering_key => publish_with_receipts.ordering_key, tag => publish_with_receipts.tag,
        keys => publish_with_receipts.keys,
        headers => publish_with_receipts.headers || jsonb_build_object('hufu-receipts', asked));
    insert into hufu.awaiting(message_id, topic, tag, keys, ordering_key, headers, body, asked, groups, deadline_ms, outcome_topic)
    select o.message_id, o.topic, o.tag, o.keys, o.ordering_key, o.headers, o.body, asked, receipt_groups, deadline_ms,
           publish_with_receipts.outcome_topic
    from hufu.outbox_0 o where o.seq = currval('hufu.outbox_0_seq');
    return id;
end $$)";

// The announcement of an end, as `outbox::outcome_message` writes it.
#define HUFU_ANNOUNCE(FROM, BODY)                                                                              \
    "insert into hufu.outbox_0(message_id, topic, keys, ordering_key, headers, body) "                         \
    "select hufu.new_message_id(), x.outcome_topic, x.message_id::text, x.ordering_key, "                      \
    "int4send(15) || convert_to('hufu-receipt-of', 'UTF8') || int4send(36) || convert_to(x.message_id::text, " \
    "'UTF8'), " BODY " from " FROM " x where x.outcome_topic <> ''"

// Plans that do not rest on stale statistics: every look into a table goes along its key, whatever its size seems to be. `offset 0`
// keeps the look-up of one row from becoming a join with the whole table.
#define HUFU_BY_KEY " set enable_seqscan = off set enable_bitmapscan = off "

constexpr const char* park =
    "create or replace function hufu.park_awaiting(ids uuid[], reasons text[]) returns void language plpgsql" HUFU_BY_KEY
    "as $$\nbegin\n    " HUFU_RECEIPT_LOCK
    "\n    with p as materialized (select t.id as message_id, t.reason, a.outcome_topic, a.ordering_key "
    "from (select distinct on (u.id) u.id, u.reason from unnest(ids, reasons) as u(id, reason) order by u.id) t "
    "cross join lateral (select * from hufu.awaiting w where w.message_id = t.id offset 0) a), "
    "put as (insert into hufu.awaiting_parked(message_id, reason) select message_id, reason from p on conflict do nothing "
    "returning message_id), "
    "fresh as (select p.* from p join put using (message_id)), "
    "due as (delete from hufu.awaiting_due where message_id = any(ids)), "
    "logged as (insert into hufu.awaiting_log(message_id, what, detail) select message_id, 'parked', reason from "
    "fresh) " HUFU_ANNOUNCE("fresh", "convert_to('parked: ' || x.reason, 'UTF8')") ";\nend $$";

// One character per receipt: t taken, c completed, p parked, d duplicate, g unknown group, m unknown message.
constexpr const char* take =
    "create or replace function hufu.take_receipts(ids uuid[], groups text[], outcomes text[], reasons text[]) "
    "returns text language plpgsql" HUFU_BY_KEY
    "as $$\n"
    "declare\n"
    "    verdicts text;\n"
    "    confirmed uuid[];\n"
    "    completed uuid[];\n"
    "    refused uuid[];\n"
    "    why text[];\n"
    "begin\n"
    "    " HUFU_RECEIPT_LOCK
    "\n"
    // The first word of a group counts; "done" replaces a refusal. Of several in one batch the best one is written.
    R"(    with r as materialized (
        select t.n, t.id, t.grp, t.outcome, t.reason, t.grp = any(a.groups) as asked
        from unnest(take_receipts.ids, take_receipts.groups, outcomes, reasons) with ordinality as t(id, grp, outcome, reason, n)
        left join lateral (select w.groups from hufu.awaiting w where w.message_id = t.id offset 0) a on true),
    best as materialized (select distinct on (id, grp) n, id, grp, outcome, reason from r where asked
        order by id, grp, outcome = 'done' desc, n),
    put as materialized (insert into hufu.receipt as known (message_id, consumer_group, outcome, reason)
        select id, grp, outcome, reason from best
        on conflict (message_id, consumer_group) do update set outcome = 'done', reason = '', at = clock_timestamp()
        where known.outcome = 'refused' and excluded.outcome = 'done' returning message_id, consumer_group),
    fresh as materialized (select b.n, b.id, b.outcome, b.reason, b.grp from best b
        join put on put.message_id = b.id and put.consumer_group = b.grp)
    select string_agg(case when f.n is not null then 't' when r.asked then 'd' when r.asked is not null then 'g'
               when (select true from hufu.receipt k where k.message_id = r.id and k.consumer_group = r.grp) then 'd'
               when (select true from hufu.awaited e where e.message_id = r.id) then 'g' else 'm' end, '' order by r.n),
           array_agg(f.id) filter (where f.outcome = 'done'),
           array_agg(f.id order by r.n) filter (where f.outcome = 'refused'),
           array_agg(f.grp || ' refused' || case when f.reason = '' then '' else ': ' || f.reason end order by r.n)
               filter (where f.outcome = 'refused')
        into verdicts, confirmed, refused, why
        from r left join fresh f on f.n = r.n;
    if confirmed is not null then
        select array_agg(c.id) into completed from (select distinct u.id from unnest(confirmed) as u(id)) c
            cross join lateral (select w.groups from hufu.awaiting w where w.message_id = c.id offset 0) a
            where cardinality(a.groups) = 1 or cardinality(a.groups) =
                (select count(*) from hufu.receipt k where k.message_id = c.id and k.outcome = 'done');
    end if;
    if completed is not null then
        with due as (delete from hufu.awaiting_due where message_id = any(completed)),
        parked as (delete from hufu.awaiting_parked where message_id = any(completed)),
        gone as (delete from hufu.awaiting where message_id = any(completed)
            returning message_id, created_at, topic, keys, ordering_key, outcome_topic),
        ended as (insert into hufu.awaited(message_id, created_at, topic, keys, ordering_key, state)
            select message_id, created_at, topic, keys, ordering_key, 'completed' from gone)
        )" HUFU_ANNOUNCE("gone", "convert_to('completed', 'UTF8')") R"(;
    end if;
    if refused is not null then
        perform hufu.park_awaiting(refused, why);
    end if;
    if completed is null and refused is null then
        return verdicts;
    end if;
    return (select string_agg(case when verdict <> 't' then verdict when done is not null and n = last then 'c'
            when outcome = 'refused' and done is null then 'p' else 't' end, '' order by n)
        from (select t.n, t.outcome, t.verdict, c.id as done,
                  max(t.n) filter (where t.verdict = 't') over (partition by t.id) as last
              from unnest(take_receipts.ids, outcomes, string_to_array(verdicts, null)) with ordinality
                  as t(id, outcome, verdict, n)
              left join unnest(completed) as c(id) on c.id = t.id) v);
end $$)";

constexpr const char* resend =
    "create or replace function hufu.resend_awaiting(id uuid, key text, who text, why text) returns bigint "
    "language plpgsql as $$\ndeclare\n    chosen uuid[];\nbegin\n    " HUFU_RECEIPT_LOCK R"(
    select array_agg(a.message_id) into chosen from hufu.awaiting a
        where case when resend_awaiting.id is not null then a.message_id = resend_awaiting.id
              else a.ordering_key = resend_awaiting.key or resend_awaiting.key = any(string_to_array(a.keys, ' ')) end
          and (exists (select from hufu.awaiting_due d where d.message_id = a.message_id)
               or exists (select from hufu.awaiting_parked p where p.message_id = a.message_id));
    if chosen is null then
        return 0;
    end if;
    delete from hufu.awaiting_parked where message_id = any(chosen);
    insert into hufu.awaiting_due(message_id, due_at, sends) select c, clock_timestamp(), 0 from unnest(chosen) c
        on conflict (message_id) do update set due_at = excluded.due_at, sends = 0;
    insert into hufu.awaiting_log(message_id, what, detail)
        select c, 'resend', 'asked by ' || resend_awaiting.who || ': ' || resend_awaiting.why from unnest(chosen) c;
    insert into hufu.audit(lane, action, topic, ordering_key, seq, rows, who, why)
        select 0, 'resend', a.topic, a.ordering_key, null, count(*), resend_awaiting.who, resend_awaiting.why
        from hufu.awaiting a where a.message_id = any(chosen) group by a.topic, a.ordering_key;
    return cardinality(chosen);
end $$)";

}  // namespace

outbox::Migration create_receipts() {
    outbox::Migration step{5, "create_receipts", {"set local lock_timeout = '5s'"}};
    step.statements.insert(step.statements.end(), std::begin(tables), std::end(tables));
    for (const char* function : {append, publish, park, take, resend}) step.statements.emplace_back(function);
    step.statements.emplace_back(
        "insert into hufu.schema_migration(version, name) values (5, 'create_receipts') on conflict do nothing");
    return step;
}

}  // namespace hufu::postgres
