// The part of a settle that starts the clock of messages which ask for receipts.
#pragma once

/// Common table expressions: the messages of the uuid array IDS (as in "$3") are noted as sent and due after their deadlines,
/// where the one called FENCE has a row. Those that were completed, or parked for good, meanwhile are passed over.
#define HUFU_START_AWAITING(IDS, FENCE)                                                                 \
    " sent as (select a.message_id, a.deadline_ms from hufu.awaiting a where a.message_id = any(" IDS   \
    "::uuid[]) "                                                                                        \
    "and exists (select from " FENCE                                                                    \
    ") and not exists (select from hufu.awaiting_parked p "                                             \
    "where p.message_id = a.message_id)), "                                                             \
    "due as (insert into hufu.awaiting_due(message_id, due_at, sends) select message_id, "              \
    "clock_timestamp() + deadline_ms * interval '1 millisecond', 1 from sent on conflict do nothing), " \
    "noted as (insert into hufu.awaiting_log(message_id, what) select message_id, 'sent' from sent) "
