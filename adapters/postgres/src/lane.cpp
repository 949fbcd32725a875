// Owning, reading and settling the lane.
#include <algorithm>
#include <utility>

#include "ports.hpp"
#include "row.hpp"
#include "start_awaiting.hpp"

namespace hufu::postgres {

using outbox::Claim;
using outbox::Ownership;

// Lease --------------------------------------------------------------------------------------------------------------

Result<std::optional<Claim>> Lease::acquire(std::string_view owner, std::chrono::milliseconds lease) {
    Parameters parameters;
    parameters.add(owner).add_int8(lease.count());
    auto rows = session_.run(
        "update hufu.lane set epoch = epoch + 1, owner = $1::text, "
        "lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond' "
        "where lane = 0 and (lease_until < clock_timestamp() or owner = $1::text) returning epoch",
        parameters);
    if (!rows) return rows.error();
    if (rows->size() == 0) return std::optional<Claim>{};
    if (auto learned = session_.refresh_identity(); !learned) return learned.error();
    return std::optional{Claim{static_cast<std::uint64_t>(rows->int8(0, 0)), session_.identity()}};
}

Result<Ownership> Lease::renew(const Claim& claim, std::chrono::milliseconds lease) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return owned->ownership;
    Parameters parameters;
    parameters.add_int8(number(claim.epoch)).add_int8(lease.count());
    auto rows = owned->connection->run(
        "update hufu.lane set lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond' "
        "where lane = 0 and epoch = $1::bigint returning 1",
        parameters);
    if (!rows) return rows.error();
    return rows->size() == 1 ? Ownership::held : Ownership::fenced;
}

Result<void> Lease::release(const Claim& claim) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return {};
    Parameters parameters;
    parameters.add_int8(number(claim.epoch));
    auto rows = owned->connection->run(
        "update hufu.lane set lease_until = '-infinity' where lane = 0 and epoch = $1::bigint", parameters);
    if (!rows) return rows.error();
    return {};
}

// Reader -------------------------------------------------------------------------------------------------------------

namespace {

#define HUFU_ROW "select seq, created_at, message_id, topic, tag, keys, ordering_key, headers, body from hufu.outbox_0 "

// A page is one flight of these, whose transaction is REPEATABLE READ: one snapshot, so when a row of a key is visible, so
// is every earlier one. Apart they are the cheapest plans there are; as one statement the executor costs more than the rows.
constexpr std::string_view snapshot_sql = "select pg_current_snapshot()::text";
constexpr std::string_view newer_sql = HUFU_ROW "where seq > $1::bigint order by seq limit $2::bigint";
constexpr std::string_view holes_sql = HUFU_ROW "where seq = any($1::bigint[]) order by seq limit $2::bigint";

/// As part of the statement: only a list that is known at planning is hashed, and this one may be long.
std::string array_literal(std::span<const outbox::Sequence> seqs) {
    std::string text = "'{";
    for (const auto seq : seqs) {
        if (text.size() > 2) text += ',';
        text += std::to_string(seq);
    }
    return text + "}'::bigint[]";
}

std::string older_sql(outbox::Sequence upto, std::span<const outbox::Sequence> skip) {
    return HUFU_ROW "where seq <= " + std::to_string(upto) + " and seq <> all(" + array_literal(skip) +
           ") order by seq limit $1::bigint";
}

}  // namespace

Result<outbox::LaneStart> Reader::start() {
    if (auto learned = session_.refresh_identity(); !learned) return learned.error();
    auto connection = session_.connection();
    if (!connection) return connection.error();
    // The transaction's number is drawn after the sequence was read.
    watch_.forget();
    auto base = (*connection)->run("select case when is_called then last_value else 0 end from hufu.outbox_0_seq");
    if (!base) return base.error();
    auto bound = (*connection)->run("select pg_current_xact_id()::text::bigint");
    if (!bound) return bound.error();
    return outbox::LaneStart{.identity = session_.identity(),
                             .base = base->int8(0, 0),
                             .bound = static_cast<outbox::TransactionNumber>(bound->int8(0, 0)),
                             .commits_in_order = false};
}

Result<outbox::Page> Reader::read(const outbox::ReadRequest& request) {
    const std::string before = session_.identity();
    auto connection = session_.connection();
    if (!connection) return connection.error();
    if (session_.identity() != before) watch_.forget();
    Snapshot snapshot;
    std::vector<outbox::Sequence> asked = watch_.loud(request.holes);
    auto page = read(**connection, request, asked, snapshot);
    if (page && asked.size() < request.holes.size() && !watch_.may_skip(snapshot)) {
        asked = request.holes;
        page = read(**connection, request, asked, snapshot);
    }
    if (!page) return page;
    std::vector<outbox::Sequence> found;
    for (const auto& row : page->rows) {
        if (row.seq <= request.after) found.push_back(row.seq);
    }
    // A page cut at its limit has not looked at every hole it asked for.
    if (page->rows.size() < request.limit) watch_.taken(snapshot, request.holes, asked, found);
    return page;
}

/// One snapshot's page, asking for these holes.
Result<outbox::Page> Reader::read(Connection& connection, const outbox::ReadRequest& request,
                                  std::span<const outbox::Sequence> asked, Snapshot& snapshot) {
    const auto limit = static_cast<std::int64_t>(request.limit);
    Parameters newer;
    newer.add_int8(request.after).add_int8(limit);
    Parameters holes;
    std::string older;
    Parameters older_limit;
    std::vector<Step> steps{{.sql = snapshot_sql}, {.sql = newer_sql, .parameters = &newer}};
    if (!asked.empty()) {
        holes.add_int8_array(asked).add_int8(limit);
        steps.push_back({.sql = holes_sql, .parameters = &holes});
    }
    if (request.upto > 0) {
        older = older_sql(request.upto, request.skip);
        older_limit.add_int8(limit);
        steps.push_back({.sql = older, .parameters = &older_limit, .keep = false});
    }
    Flight flight = connection.fly(steps);
    if (flight.failed) return flight.error;

    outbox::Page page;
    page.identity = session_.identity();
    auto parsed = Snapshot::parse(flight.answers.front().text(0, 0));
    if (!parsed) return parsed.error();
    snapshot = std::move(*parsed);
    page.xmin = snapshot.xmin;
    for (const Rows& rows : std::span{flight.answers}.subspan(1)) {
        page.rows.reserve(page.rows.size() + rows.size());
        for (std::size_t row = 0; row < rows.size(); ++row) {
            auto read = row_from(rows, row, 0);
            if (!read) return read.error();
            page.rows.push_back(std::move(*read));
        }
    }
    if (steps.size() > 2) {
        std::sort(page.rows.begin(), page.rows.end(),
                  [](const auto& left, const auto& right) { return left.seq < right.seq; });
        if (page.rows.size() > request.limit) page.rows.resize(request.limit);
    }
    return page;
}

Result<std::uint64_t> Reader::count_unknown(outbox::Sequence upto, std::span<const outbox::Sequence> known) {
    auto connection = session_.connection();
    if (!connection) return connection.error();
    const std::string sql = "select count(*) from hufu.outbox_0 where seq <= " + std::to_string(upto) + " and seq <> all(" +
                            array_literal(known) + ")";
    const Step step{.sql = sql, .keep = false};
    Flight flight = (*connection)->fly({&step, 1});
    if (flight.failed) return flight.error;
    return static_cast<std::uint64_t>(flight.answers.front().int8(0, 0));
}

// Settler ------------------------------------------------------------------------------------------------------------

#define HUFU_SETTLE                                                                                \
    "with fence as materialized (select 1 from hufu.lane where lane = 0 and epoch = $1::bigint), " \
    "gone as (delete from hufu.outbox_0 where seq = any($2::bigint[]) and exists (select from fence)) "
#define HUFU_SETTLED "select case when exists (select from fence) then pg_current_xact_id()::text::bigint end"

Result<outbox::Settled> Settler::settle(const Claim& claim, std::span<const outbox::Sequence> seqs,
                                        std::span<const MessageId> awaited) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return outbox::Settled{owned->ownership, 0};
    Parameters parameters;
    parameters.add_int8(number(claim.epoch)).add_int8_array(seqs);
    const std::uint64_t mark = marks_->begin();
    // The fence takes no lock: to delete what the broker has confirmed is right whoever does it, the epoch tells a
    // relay that was left behind to stop sending.
    if (!awaited.empty()) parameters.add_uuid_array(awaited);
    auto rows = owned->connection->run(
        awaited.empty() ? HUFU_SETTLE HUFU_SETTLED : HUFU_SETTLE "," HUFU_START_AWAITING("$3", "fence") HUFU_SETTLED,
        parameters);
    if (!rows) return rows.error();
    if (rows->is_null(0, 0)) return outbox::Settled{Ownership::fenced, 0};
    const auto transaction = static_cast<outbox::TransactionNumber>(rows->int8(0, 0));
    marks_->end(mark, transaction);
    return outbox::Settled{Ownership::held, transaction};
}

}  // namespace hufu::postgres
