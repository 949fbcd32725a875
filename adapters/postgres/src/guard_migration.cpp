#include "guard_migration.hpp"

namespace hufu::postgres {

// Both are called in RETURNING of the guard's insert and must be volatile: each then looks with a snapshot of its own, taken
// after the insert. The insert may have waited for the clean-up of the very row that it repeats, and the statement's own
// snapshot would show the horizon as it was before that.
outbox::Migration create_guard_horizon_checks() {
    return {
        7,
        "create_guard_horizon_checks",
        {
            "set local lock_timeout = '5s'",
            R"(create or replace function hufu.guard_horizon_us(consumer_group text) returns bigint language plpgsql volatile
    as $$
begin
    return (select (extract(epoch from h.horizon) * 1000000)::bigint from hufu.guard_horizon h
            where h.consumer_group = guard_horizon_us.consumer_group);
end $$)",
            // What follows it in the flight is skipped when it raises.
            R"(create or replace function hufu.guard_within_horizon(consumer_group text, message_id uuid,
    first_stored_at timestamptz) returns boolean language plpgsql volatile as $$
declare
    low timestamptz;
begin
    select h.horizon into low from hufu.guard_horizon h where h.consumer_group = guard_within_horizon.consumer_group;
    if low > guard_within_horizon.first_stored_at then
        raise exception using errcode = 'HF004', message = format(
            'message %s was first stored at %s, before the horizon of group "%s" (%s): its guard row may have been purged, so '
            'it is not run; check by hand whether its effect exists, and keep guards longer than messages can live',
            guard_within_horizon.message_id, guard_within_horizon.first_stored_at, guard_within_horizon.consumer_group, low);
    end if;
    return true;
end $$)",
            "insert into hufu.schema_migration(version, name) values (7, 'create_guard_horizon_checks') on conflict do "
            "nothing",
        }};
}

}  // namespace hufu::postgres
