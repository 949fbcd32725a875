// The book of messages that wait for receipts. What decides is in the schema's functions (receipt_migration.cpp).
#include "awaiting.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "row.hpp"

namespace hufu::postgres {
namespace {

using outbox::AwaitedSelection;
using outbox::LifeStory;
using outbox::ReceiptVerdict;

#define HUFU_MESSAGE "message_id, topic, tag, keys, ordering_key, headers, body"
#define HUFU_MISSING                                                                                       \
    "array_to_string(array(select g from unnest(a.groups) g where not exists (select from hufu.receipt r " \
    "where r.message_id = a.message_id and r.consumer_group = g and r.outcome = 'done')), ',')"

constexpr std::string_view receipt_lock = "select pg_advisory_xact_lock(7526764217133005)";

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const auto comma = text.find(',');
        parts.emplace_back(text.substr(0, comma));
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return parts;
}

ReceiptVerdict verdict_of(char letter) {
    switch (letter) {
        case 't': return ReceiptVerdict::taken;
        case 'c': return ReceiptVerdict::completed;
        case 'p': return ReceiptVerdict::parked;
        case 'd': return ReceiptVerdict::duplicate;
        case 'g': return ReceiptVerdict::unknown_group;
        default: return ReceiptVerdict::unknown_message;
    }
}

/// The lowest version 7 id of that millisecond: ids below it were minted earlier.
MessageId lowest_id_of(std::int64_t milliseconds) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t at = 0; at < 6; ++at) bytes[at] = static_cast<std::uint8_t>(milliseconds >> (40 - 8 * at));
    return MessageId{bytes};
}

Parameters selected(const AwaitedSelection& selection) {
    Parameters parameters;
    if (selection.id) {
        parameters.add_uuid(*selection.id);
    } else {
        parameters.add_null();
    }
    parameters.add(selection.key);
    return parameters;
}

}  // namespace

Result<std::vector<ReceiptVerdict>> Awaiting::take(std::span<const outbox::Receipt> receipts) {
    std::vector<ReceiptVerdict> verdicts;
    if (receipts.empty()) return verdicts;
    std::vector<MessageId> ids;
    std::vector<std::string_view> groups, outcomes, reasons;
    std::vector<std::string> clean;  // reserved whole: views into it must stay
    clean.reserve(2 * receipts.size());
    const auto text = [&clean](std::string_view value) -> std::string_view {
        if (value.find('\0') == std::string_view::npos) return value;
        std::string& copy = clean.emplace_back(value);
        std::replace(copy.begin(), copy.end(), '\0', '?');
        return copy;
    };
    for (const auto& receipt : receipts) {
        ids.push_back(receipt.message);
        groups.push_back(text(receipt.group));
        outcomes.emplace_back(receipt.outcome == outbox::Receipt::Outcome::done ? "done" : "refused");
        reasons.push_back(text(receipt.reason));
    }
    Parameters parameters;
    parameters.add_uuid_array(ids).add_text_array(groups).add_text_array(outcomes).add_text_array(reasons);
    auto rows = session_.run("select hufu.take_receipts($1::uuid[], $2::text[], $3::text[], $4::text[])", parameters);
    if (!rows) return rows.error();
    for (const char letter : rows->text(0, 0)) verdicts.push_back(verdict_of(letter));
    return verdicts;
}

Result<outbox::Overdue> Awaiting::claim_overdue(std::size_t limit, std::chrono::milliseconds hold) {
    auto connection = session_.connection();
    if (!connection) return connection.error();
    // Looking first keeps the idle call free of locks and transaction numbers.
    constexpr std::string_view look =
        "select ceil(extract(epoch from due_at - clock_timestamp()) * 1000)::bigint from hufu.awaiting_due order by due_at "
        "limit 1";
    // A due row whose message has ended, or is parked, is left over from a settle beside its receipt.
    constexpr std::string_view claim =
        "with late as materialized (select message_id, sends from hufu.awaiting_due where due_at <= statement_timestamp() "
        "order by due_at limit $1::bigint), "
        "live as materialized (select l.sends, a.*, " HUFU_MISSING
        " as missing from late l cross join lateral (select * from hufu.awaiting w where w.message_id = l.message_id "
        "and not exists (select from hufu.awaiting_parked p where p.message_id = w.message_id) offset 0) a), "
        "over as (delete from hufu.awaiting_due d using late l where d.message_id = l.message_id and not exists "
        "(select from live v where v.message_id = d.message_id)), "
        "held as (update hufu.awaiting_due d set due_at = clock_timestamp() + $2::bigint * interval '1 millisecond' "
        "from live v where d.message_id = v.message_id) "
        "select 0::bigint, created_at, " HUFU_MESSAGE ", asked, sends, missing from live order by message_id";
    outbox::Overdue overdue;
    auto next = (*connection)->run(look);
    if (!next) return next.error();
    if (next->size() == 0) return overdue;
    if (next->int8(0, 0) > 0) {
        overdue.next_due_in = std::chrono::milliseconds{next->int8(0, 0)};
        return overdue;
    }
    Parameters parameters;
    parameters.add_int8(static_cast<std::int64_t>(limit)).add_int8(hold.count());
    const std::array<Step, 5> steps{Step{.sql = "begin"}, Step{.sql = receipt_lock},
                                    Step{.sql = claim, .parameters = &parameters}, Step{.sql = look}, Step{.sql = "commit"}};
    Flight flight = (*connection)->fly(steps);
    if (flight.failed) {
        if ((*connection)->usable() && (*connection)->in_transaction()) (void)(*connection)->run_script("rollback");
        return flight.error;
    }
    const Rows& rows = flight.answers[2];
    for (std::size_t row = 0; row < rows.size(); ++row) {
        auto read = row_from(rows, row, 0);
        if (!read) return read.error();
        auto asked = outbox::decode_receipts(rows.text(row, 9));
        if (!asked) return asked.error();
        overdue.messages.push_back({.message = std::move(read->message),
                                    .asked = std::move(*asked),
                                    .sends = static_cast<std::uint32_t>(rows.int8(row, 10)),
                                    .missing = split(rows.text(row, 11))});
    }
    if (const Rows& left = flight.answers[3]; left.size() > 0) {
        overdue.next_due_in = std::chrono::milliseconds{left.int8(0, 0)};
    }
    return overdue;
}

Result<void> Awaiting::sent_again(std::span<const outbox::SentAgain> sent) {
    std::vector<MessageId> ids;
    std::vector<std::int64_t> waits;
    for (const auto& message : sent) {
        ids.push_back(message.id);
        waits.push_back(message.wait.count());
    }
    Parameters parameters;
    parameters.add_uuid_array(ids).add_int8_array(waits);
    auto rows = session_.run(
        "with s as materialized (select * from unnest($1::uuid[], $2::bigint[]) as t(id, wait)), "
        "due as (update hufu.awaiting_due d set sends = sends + 1, "
        "due_at = clock_timestamp() + s.wait * interval '1 millisecond' from s where d.message_id = s.id "
        "returning d.message_id) "
        "insert into hufu.awaiting_log(message_id, what, detail) select message_id, 'sent', 'again' from due",
        parameters);
    if (!rows) return rows.error();
    return {};
}

Result<void> Awaiting::park_overdue(std::span<const outbox::ParkOverdue> parks) {
    std::vector<MessageId> ids;
    std::vector<std::string_view> reasons;
    for (const auto& park : parks) {
        ids.push_back(park.id);
        reasons.emplace_back(park.reason);
    }
    Parameters parameters;
    parameters.add_uuid_array(ids).add_text_array(reasons);
    auto rows = session_.run("select hufu.park_awaiting($1::uuid[], $2::text[])", parameters);
    if (!rows) return rows.error();
    return {};
}

Result<std::uint64_t> Awaiting::forget(std::chrono::milliseconds keep, std::size_t limit) {
    auto now = session_.run("select (extract(epoch from clock_timestamp()) * 1000)::bigint");
    if (!now) return now.error();
    Parameters parameters;
    parameters.add_uuid(lowest_id_of(std::max<std::int64_t>(now->int8(0, 0) - keep.count(), 0)))
        .add_int8(keep.count())
        .add_int8(static_cast<std::int64_t>(limit));
    // Ids are time-ordered, so the primary key leads to the old ones.
    auto rows = session_.run(
        "with old as materialized (select message_id from hufu.awaited where message_id < $1::uuid and "
        "ended_at < clock_timestamp() - $2::bigint * interval '1 millisecond' order by message_id limit $3::bigint), "
        "receipts as (delete from hufu.receipt r using old where r.message_id = old.message_id), "
        "log as (delete from hufu.awaiting_log l using old where l.message_id = old.message_id), "
        "gone as (delete from hufu.awaited e using old where e.message_id = old.message_id returning 1) "
        "select count(*) from gone",
        parameters);
    if (!rows) return rows.error();
    return static_cast<std::uint64_t>(rows->int8(0, 0));
}

Result<std::vector<LifeStory>> Awaiting::trace(const AwaitedSelection& selection, std::size_t limit) {
    Parameters parameters = selected(selection);
    parameters.add_int8(static_cast<std::int64_t>(limit));
    auto found = session_.run(
        "select a.message_id, a.topic, a.ordering_key, case when p.message_id is not null then 'parked' "
        "when d.message_id is not null then 'awaiting' else 'pending' end, " HUFU_MISSING
        ", ceil(extract(epoch from d.due_at - clock_timestamp()) * 1000)::bigint, "
        "(select count(*) from hufu.awaiting_log l where l.message_id = a.message_id and l.what = 'sent') "
        "from hufu.awaiting a left join hufu.awaiting_due d using (message_id) left join hufu.awaiting_parked p using "
        "(message_id) where case when $1::uuid is not null then a.message_id = $1::uuid "
        "else a.ordering_key = $2::text or $2::text = any(string_to_array(a.keys, ' ')) end "
        "union all select e.message_id, e.topic, e.ordering_key, e.state, '', null, "
        "(select count(*) from hufu.awaiting_log l where l.message_id = e.message_id and l.what = 'sent') "
        "from hufu.awaited e where case when $1::uuid is not null then e.message_id = $1::uuid "
        "else e.ordering_key = $2::text or $2::text = any(string_to_array(e.keys, ' ')) end order by 1 limit $3::bigint",
        parameters);
    if (!found) return found.error();
    if (found->size() == 0) return outbox::no_such_message(selection);
    std::vector<LifeStory> stories;
    for (std::size_t row = 0; row < found->size(); ++row) {
        LifeStory& story = stories.emplace_back();
        story.id = found->uuid(row, 0);
        story.topic = found->text(row, 1);
        story.ordering_key = found->text(row, 2);
        story.state = found->text(row, 3);
        story.missing = split(found->text(row, 4));
        if (!found->is_null(row, 5) && story.state == "awaiting") {
            story.next_send_in = std::chrono::milliseconds{found->int8(row, 5)};
        }
        story.sends = static_cast<std::uint32_t>(found->int8(row, 6));
        if (auto told = tell(story); !told) return told.error();
    }
    return stories;
}

/// Fills in the events.
Result<void> Awaiting::tell(LifeStory& story) {
    Parameters parameters;
    parameters.add_uuid(story.id);
    auto rows = session_.run(
        "select at, what, detail from ("
        "select created_at, 'appended', 'asks ' || array_to_string(groups, ', '), 0 from hufu.awaiting where message_id = "
        "$1::uuid union all select created_at, 'appended', '', 0 from hufu.awaited where message_id = $1::uuid "
        "union all select at, what, detail, 1 from hufu.awaiting_log where message_id = $1::uuid "
        "union all select at, case outcome when 'done' then 'receipt' else 'refused' end, consumer_group || "
        "case when reason = '' then '' else ': ' || reason end, 2 from hufu.receipt where message_id = $1::uuid "
        "union all select ended_at, state, '', 3 from hufu.awaited where message_id = $1::uuid"
        ") e(at, what, detail, n) order by at, n",
        parameters);
    if (!rows) return rows.error();
    for (std::size_t row = 0; row < rows->size(); ++row) {
        story.events.push_back({rows->timestamp(row, 0), std::string{rows->text(row, 1)}, std::string{rows->text(row, 2)}});
    }
    return {};
}

Result<std::uint64_t> Awaiting::resend(const AwaitedSelection& selection, const outbox::AuditNote& note) {
    Parameters parameters = selected(selection);
    parameters.add(note.who).add(note.why);
    auto rows = session_.run("select hufu.resend_awaiting($1::uuid, $2::text, $3::text, $4::text)", parameters);
    if (!rows) return rows.error();
    const auto count = static_cast<std::uint64_t>(rows->int8(0, 0));
    if (count > 0) return count;
    auto known = trace(selection, 1);
    if (!known) return known.error();
    return outbox::cannot_resend(selection, known->front().state);
}

}  // namespace hufu::postgres
