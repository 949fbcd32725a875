// Owning, reading and settling the lane.
#include "ports.hpp"
#include "row.hpp"

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

#define HUFU_ROW "o.seq, o.created_at, o.message_id, o.topic, o.tag, o.keys, o.ordering_key, o.headers, o.body"

// One statement is one snapshot: when a row of a key is visible, so is every earlier one. UNION ALL, because one
// condition with OR gives up the index's order.
constexpr std::string_view snapshot =
    "with s as materialized (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin) ";
constexpr std::string_view newer_set = "(select * from hufu.outbox_0 where seq > $1::bigint order by seq limit $2::bigint)";
constexpr std::string_view holes_set = "(select * from hufu.outbox_0 where seq = any($3::bigint[]))";
constexpr std::string_view older_set =
    "(select * from hufu.outbox_0 where seq <= $4::bigint and seq <> all($5::bigint[]) order by seq limit $2::bigint)";

std::string page_sql(bool holes, bool older) {
    std::string sets{newer_set};
    if (holes) sets.append(" union all ").append(holes_set);
    if (older) sets.append(" union all ").append(older_set);
    return std::string{snapshot} + "select s.xmin, " HUFU_ROW " from s left join lateral (select * from (" + sets +
           ") u order by seq limit $2::bigint) o on true order by o.seq";
}

}  // namespace

Result<outbox::LaneStart> Reader::start() {
    auto connection = session_.connection();
    if (!connection) return connection.error();
    // The transaction's number is drawn after the sequence was read.
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
    static const std::string newer = page_sql(false, false);
    static const std::string newer_and_holes = page_sql(true, false);
    static const std::string everything = page_sql(true, true);

    auto connection = session_.connection();
    if (!connection) return connection.error();
    Parameters parameters;
    parameters.add_int8(request.after).add_int8(static_cast<std::int64_t>(request.limit));
    const bool older = request.upto > 0;
    if (older || !request.holes.empty()) parameters.add_int8_array(request.holes);
    if (older) parameters.add_int8(request.upto).add_int8_array(request.skip);
    // A long list of rows to skip is hashed only when it is known at planning.
    const Step step{.sql = older                   ? everything
                           : request.holes.empty() ? newer
                                                   : newer_and_holes,
                    .parameters = &parameters,
                    .keep = !older};
    Flight flight = (*connection)->fly({&step, 1});
    if (flight.failed) return flight.error;
    const Rows& rows = flight.answers.front();

    outbox::Page page;
    page.identity = session_.identity();
    page.xmin = static_cast<outbox::TransactionNumber>(rows.int8(0, 0));
    if (rows.is_null(0, 1)) return page;
    page.rows.reserve(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        auto read = row_from(rows, row, 1);
        if (!read) return read.error();
        page.rows.push_back(std::move(*read));
    }
    return page;
}

Result<std::uint64_t> Reader::count_unknown(outbox::Sequence upto, std::span<const outbox::Sequence> known) {
    auto connection = session_.connection();
    if (!connection) return connection.error();
    Parameters parameters;
    parameters.add_int8(upto).add_int8_array(known);
    const Step step{.sql = "select count(*) from hufu.outbox_0 where seq <= $1::bigint and seq <> all($2::bigint[])",
                    .parameters = &parameters,
                    .keep = false};
    Flight flight = (*connection)->fly({&step, 1});
    if (flight.failed) return flight.error;
    return static_cast<std::uint64_t>(flight.answers.front().int8(0, 0));
}

// Settler ------------------------------------------------------------------------------------------------------------

Result<outbox::Settled> Settler::settle(const Claim& claim, std::span<const outbox::Sequence> seqs) {
    auto owned = session_.owned(claim);
    if (!owned) return owned.error();
    if (owned->ownership != Ownership::held) return outbox::Settled{owned->ownership, 0};
    Parameters parameters;
    parameters.add_int8(number(claim.epoch)).add_int8_array(seqs);
    // The fence takes no lock: to delete what the broker has confirmed is right whoever does it, the epoch tells a
    // relay that was left behind to stop sending.
    auto rows = owned->connection->run(
        "with fence as materialized (select 1 from hufu.lane where lane = 0 and epoch = $1::bigint), "
        "gone as (delete from hufu.outbox_0 where seq = any($2::bigint[]) and exists (select from fence)) "
        "select case when exists (select from fence) then pg_current_xact_id()::text::bigint end",
        parameters);
    if (!rows) return rows.error();
    if (rows->is_null(0, 0)) return outbox::Settled{Ownership::fenced, 0};
    return outbox::Settled{Ownership::held, static_cast<outbox::TransactionNumber>(rows->int8(0, 0))};
}

}  // namespace hufu::postgres
