// Parked and delayed rows.
#include "ports.hpp"
#include "row.hpp"
#include "start_awaiting.hpp"

namespace hufu::postgres {
namespace {

using outbox::Claim;
using outbox::Key;
using outbox::Ownership;

// A lock on the lane's row, which a takeover waits for: what moves rows must not overlap with another owner.
#define HUFU_FENCE "with fence as materialized (select 1 from hufu.lane where lane = 0 and epoch = $1::bigint for share), "
#define HUFU_FENCED "exists (select from fence)"
#define HUFU_MESSAGE "message_id, topic, tag, keys, ordering_key, headers, body"
#define HUFU_PARKED "seq, created_at, " HUFU_MESSAGE ", attempts, reason, parked_at, released"

Result<std::vector<outbox::ParkedRow>> parked_rows(const Result<Rows>& answer) {
    if (!answer) return answer.error();
    std::vector<outbox::ParkedRow> parked;
    parked.reserve(answer->size());
    for (std::size_t row = 0; row < answer->size(); ++row) {
        auto read = row_from(*answer, row, 0);
        if (!read) return read.error();
        parked.push_back({std::move(*read), static_cast<std::uint32_t>(answer->int8(row, 9)),
                          std::string{answer->text(row, 10)}, answer->timestamp(row, 11), answer->boolean(row, 12)});
    }
    return parked;
}

std::string name_of(const outbox::ParkedSelection& selection) {
    std::string name = "topic \"" + selection.key.topic + "\"";
    if (!selection.key.ordering_key.empty()) name += ", key \"" + selection.key.ordering_key + "\"";
    if (selection.seq) name += ", row " + std::to_string(*selection.seq);
    return name;
}

}  // namespace

Result<Ownership> Lot::as_owner(const Claim& claim, std::string_view sql, const Parameters& parameters) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return owned->ownership;
    auto rows = owned->connection->run(sql, parameters);
    if (!rows) return rows.error();
    return rows->boolean(0, 0) ? Ownership::held : Ownership::fenced;
}

Result<Ownership> Lot::park(const Claim& claim, std::span<const outbox::ParkRow> rows) {
    std::vector<std::int64_t> seqs, attempts, released;
    std::vector<std::string_view> reasons;
    for (const auto& row : rows) {
        seqs.push_back(row.seq);
        attempts.push_back(row.attempts);
        released.push_back(row.released ? 1 : 0);
        reasons.emplace_back(row.reason);
    }
    Parameters parameters;
    parameters.add_int8(number(claim.epoch))
        .add_int8_array(seqs)
        .add_int8_array(attempts)
        .add_text_array(reasons)
        .add_int8_array(released);
    return as_owner(claim,
                    HUFU_FENCE
                    "p as (select * from unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) "
                    "as t(p_seq, attempts, reason, released)), "
                    "gone as (delete from hufu.outbox_0 o using p where o.seq = p.p_seq and " HUFU_FENCED
                    " returning *), "
                    "put as (insert into hufu.parked_0(seq, created_at, " HUFU_MESSAGE
                    ", attempts, reason, released) "
                    "select seq, created_at, " HUFU_MESSAGE
                    ", attempts, reason, released <> 0 from gone) "
                    "select " HUFU_FENCED,
                    parameters);
}

Result<std::vector<outbox::ParkedRow>> Lot::read_released(const Key& key, outbox::Sequence after, std::size_t limit) {
    Parameters parameters;
    parameters.add(key.topic).add(key.ordering_key).add_int8(after).add_int8(static_cast<std::int64_t>(limit));
    return parked_rows(session_.run(
        "select " HUFU_PARKED
        " from hufu.parked_0 where topic = $1::text and ordering_key = $2::text and seq > $3::bigint "
        "and case when $2::text = '' then released else exists (select from hufu.parked_0 r "
        "where r.topic = $1::text and r.ordering_key = $2::text and r.released) end order by seq limit $4::bigint",
        parameters));
}

Result<Ownership> Lot::settle(const Claim& claim, std::span<const outbox::Sequence> seqs,
                              std::span<const MessageId> awaited) {
    Parameters parameters;
    parameters.add_int8(number(claim.epoch)).add_int8_array(seqs).add_uuid_array(awaited);
    // The key stays released while a row of it is left, also when the marked ones are gone first.
    return as_owner(
        claim,
        HUFU_FENCE
        "gone as (delete from hufu.parked_0 where seq = any($2::bigint[]) and " HUFU_FENCED
        " returning topic, ordering_key, released), "
        "kept as (update hufu.parked_0 set released = true where not released and " HUFU_FENCED
        " and ordering_key <> '' and (topic, ordering_key) in (select topic, ordering_key from gone where released) "
        "and seq <> all($2::bigint[])), " HUFU_START_AWAITING("$3", "fence") "select " HUFU_FENCED,
        parameters);
}

Result<Ownership> Lot::hold(const Claim& claim, const Key& key, const outbox::ParkRow& row) {
    Parameters parameters;
    parameters.add_int8(number(claim.epoch))
        .add(key.topic)
        .add(key.ordering_key)
        .add_int8(row.seq)
        .add_int8(row.attempts)
        .add(row.reason);
    return as_owner(claim,
                    HUFU_FENCE
                    "held as (update hufu.parked_0 set released = false, "
                    "attempts = case when seq = $4::bigint then $5::bigint else attempts end, "
                    "reason = case when seq = $4::bigint then $6::text else reason end "
                    "where " HUFU_FENCED
                    " and topic = $2::text and ordering_key = $3::text "
                    "and (seq = $4::bigint or ($3::text <> '' and released))) "
                    "select " HUFU_FENCED,
                    parameters);
}

Result<std::vector<outbox::ParkedKey>> Lot::list() {
    auto rows = session_.run(
        "select distinct on (topic, ordering_key) topic, ordering_key, count(*) over per_key, "
        "count(*) filter (where released) over per_key, seq, attempts, reason, parked_at from hufu.parked_0 "
        "window per_key as (partition by topic, ordering_key) order by topic, ordering_key, seq");
    if (!rows) return rows.error();
    std::vector<outbox::ParkedKey> keys;
    for (std::size_t row = 0; row < rows->size(); ++row) {
        keys.push_back({.key = {std::string{rows->text(row, 0)}, std::string{rows->text(row, 1)}},
                        .rows = static_cast<std::uint64_t>(rows->int8(row, 2)),
                        .rows_released = static_cast<std::uint64_t>(rows->int8(row, 3)),
                        .first_seq = rows->int8(row, 4),
                        .attempts = static_cast<std::uint32_t>(rows->int8(row, 5)),
                        .reason = std::string{rows->text(row, 6)},
                        .parked_at = rows->timestamp(row, 7)});
    }
    return keys;
}

Result<std::vector<outbox::ParkedRow>> Lot::show(const Key& key, std::size_t limit) {
    Parameters parameters;
    parameters.add(key.topic).add(key.ordering_key).add_int8(static_cast<std::int64_t>(limit));
    return parked_rows(session_.run("select " HUFU_PARKED
                                    " from hufu.parked_0 where topic = $1::text and ordering_key = $2::text "
                                    "order by seq limit $3::bigint",
                                    parameters));
}

// What is discarded waits for no receipts any more.
#define HUFU_END_DISCARDED                                                                         \
    "ended as (delete from hufu.awaiting a using changed c where a.message_id = c.message_id "     \
    "returning a.message_id, a.created_at, a.topic, a.keys, a.ordering_key), "                     \
    "told as (insert into hufu.awaited(message_id, created_at, topic, keys, ordering_key, state) " \
    "select message_id, created_at, topic, keys, ordering_key, 'discarded' from ended), "

Result<std::uint64_t> Lot::decide(std::string_view action, const outbox::ParkedSelection& selection,
                                  const outbox::AuditNote& note) {
    Parameters parameters;
    parameters.add(selection.key.topic).add(selection.key.ordering_key);
    if (selection.seq) {
        parameters.add_int8(*selection.seq);
    } else {
        parameters.add_null();
    }
    parameters.add(action).add(note.who).add(note.why);
    // The change and its audit are one statement. Nothing found: no audit.
    const std::string_view chosen =
        " where topic = $1::text and ordering_key = $2::text and "
        "($3::bigint is null or seq = $3::bigint) ";
    const std::string change = action == "release" ? "update hufu.parked_0 set released = true" + std::string{chosen}
                                                   : "delete from hufu.parked_0" + std::string{chosen};
    auto rows = session_.run(
        "with changed as (" + change + "returning message_id), counted as (select count(*) as n from changed), " +
            (action == "release" ? "" : HUFU_END_DISCARDED) +
            "noted as (insert into hufu.audit(lane, action, topic, ordering_key, seq, rows, who, why) "
            "select 0, $4::text, $1::text, $2::text, $3::bigint, n, $5::text, $6::text from counted where n > 0) "
            "select n from counted",
        parameters);
    if (!rows) return rows.error();
    const auto count = static_cast<std::uint64_t>(rows->int8(0, 0));
    if (count == 0) {
        return Error{ErrorCode::not_found, Disposition::reject,
                     "nothing is parked under " + name_of(selection) + ": `hufu outbox list` shows what is"};
    }
    return count;
}

Result<std::uint64_t> Lot::release(const outbox::ParkedSelection& selection, const outbox::AuditNote& note) {
    if (selection.seq && !selection.key.ordering_key.empty()) {
        return Error{
            ErrorCode::invalid_argument, Disposition::reject,
            name_of(selection) + " cannot be released alone, it has an ordering key: release the key, or discard the row"};
    }
    return decide("release", selection, note);
}

Result<std::uint64_t> Lot::discard(const outbox::ParkedSelection& selection, const outbox::AuditNote& note) {
    return decide("discard", selection, note);
}

Result<std::vector<outbox::AuditEntry>> Lot::audit(std::size_t limit) {
    Parameters parameters;
    parameters.add_int8(static_cast<std::int64_t>(limit));
    auto rows = session_.run(
        "select at, action, topic, ordering_key, seq, rows, who, why from hufu.audit where lane = 0 order by id desc limit "
        "$1::bigint",
        parameters);
    if (!rows) return rows.error();
    std::vector<outbox::AuditEntry> entries;
    for (std::size_t row = 0; row < rows->size(); ++row) {
        outbox::AuditEntry& entry = entries.emplace_back();
        entry.at = rows->timestamp(row, 0);
        entry.action = rows->text(row, 1);
        entry.selection.key = {std::string{rows->text(row, 2)}, std::string{rows->text(row, 3)}};
        if (!rows->is_null(row, 4)) entry.selection.seq = rows->int8(row, 4);
        entry.rows = static_cast<std::uint64_t>(rows->int8(row, 5));
        entry.note = {std::string{rows->text(row, 6)}, std::string{rows->text(row, 7)}};
    }
    return entries;
}

// Delayed rows -------------------------------------------------------------------------------------------------------

Result<outbox::Moved> Delayed::move_due(const Claim& claim, std::size_t limit) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return outbox::Moved{owned->ownership, 0, {}};
    // Looking first keeps the idle call free of locks and transaction numbers.
    constexpr std::string_view look =
        "select exists (select from hufu.lane where lane = 0 and epoch = $1::bigint), "
        "(select ceil(extract(epoch from due_at - clock_timestamp()) * 1000)::bigint from hufu.delayed_0 order by due_at "
        "limit 1)";
    constexpr std::string_view move = HUFU_FENCE
        "due as (delete from hufu.delayed_0 where (due_at, id) in (select due_at, id from hufu.delayed_0 "
        "where due_at <= statement_timestamp() order by due_at, id limit $2::bigint) and " HUFU_FENCED
        " returning *), "
        "moved as (insert into hufu.outbox_0(created_at, " HUFU_MESSAGE ") select created_at, " HUFU_MESSAGE
        " from due order by due_at, id returning 1) "
        "select (select count(*) from moved)";
    Parameters parameters;
    parameters.add_int8(number(claim.epoch));
    Parameters with_limit = parameters;
    with_limit.add_int8(static_cast<std::int64_t>(limit));
    outbox::Moved moved;
    for (bool again = true;;) {
        auto seen = owned->connection->run(look, parameters);
        if (!seen) return seen.error();
        moved.ownership = seen->boolean(0, 0) ? Ownership::held : Ownership::fenced;
        moved.next_due_in.reset();
        if (!seen->is_null(0, 1)) moved.next_due_in = std::chrono::milliseconds{seen->int8(0, 1)};
        if (!again || moved.ownership != Ownership::held || !moved.next_due_in || moved.next_due_in->count() > 0)
            return moved;
        auto rows = owned->connection->run(move, with_limit);
        if (!rows) return rows.error();
        moved.rows = static_cast<std::size_t>(rows->int8(0, 0));
        again = false;
    }
}

}  // namespace hufu::postgres
