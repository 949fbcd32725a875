#include <hufu/postgres/store.hpp>

#include <utility>

#include <hufu/postgres/connection.hpp>

#include "awaiting.hpp"
#include "ports.hpp"

namespace hufu::postgres {

Store::Store(std::string url, StoreOptions options)
    : url_{std::move(url)}, options_{options}, marks_{std::make_shared<SettleMarks>()} {}
Store::~Store() = default;

std::unique_ptr<outbox::LaneLease> Store::lease() {
    return std::make_unique<Lease>(Session{url_, "hufu-lease", index_only, options_.answer_timeout});
}

std::unique_ptr<outbox::LaneReader> Store::reader() {
    Session session{url_, "hufu-reader", std::string{index_only} + "; set default_transaction_isolation = 'repeatable read'",
                    options_.answer_timeout};
    return std::make_unique<Reader>(std::move(session), marks_);
}

std::unique_ptr<outbox::LaneSettler> Store::settler() {
    Session session{url_, "hufu-settler", std::string{index_only} + "; set synchronous_commit = off",
                    options_.answer_timeout};
    return std::make_unique<Settler>(std::move(session), marks_);
}

std::unique_ptr<outbox::ParkingLot> Store::parking_lot() {
    return std::make_unique<Lot>(Session{url_, "hufu-lot", index_only, options_.answer_timeout});
}

std::unique_ptr<outbox::DelayedRows> Store::delayed_rows() {
    return std::make_unique<Delayed>(Session{url_, "hufu-delayed", index_only, options_.answer_timeout});
}

std::unique_ptr<outbox::AwaitingRows> Store::awaiting_rows() {
    return std::make_unique<Awaiting>(Session{url_, "hufu-receipts", index_only, options_.answer_timeout});
}

Result<outbox::Status> Store::status() {
    Session session{url_, "hufu-status", "set lock_timeout = '10s'", options_.answer_timeout};
    auto rows = session.run(
        "select (select count(*) from hufu.outbox_0), "
        "(select floor(extract(epoch from clock_timestamp() - min(created_at)) * 1000)::bigint from hufu.outbox_0), "
        "(select count(*) from hufu.parked_0), "
        "(select count(distinct (topic, ordering_key)) from hufu.parked_0), "
        "(select count(*) from hufu.delayed_0), "
        "(select ceil(extract(epoch from min(due_at) - clock_timestamp()) * 1000)::bigint from hufu.delayed_0), "
        "l.owner, l.epoch, case when l.lease_until = '-infinity' then 0 else "
        "floor(extract(epoch from l.lease_until - clock_timestamp()) * 1000)::bigint end, "
        "(select max(version) from hufu.schema_migration), (select count(*) from hufu.awaiting), "
        "(select count(*) from hufu.awaiting_parked) from hufu.lane l where lane = 0");
    if (!rows) return rows.error();
    const auto count = [&](std::size_t column) { return static_cast<std::uint64_t>(rows->int8(0, column)); };
    const auto time = [&](std::size_t column) {
        std::optional<std::chrono::milliseconds> duration;
        if (!rows->is_null(0, column)) duration = std::chrono::milliseconds{rows->int8(0, column)};
        return duration;
    };
    outbox::Status status;
    status.pending = count(0);
    status.oldest_age = time(1);
    status.parked_rows = count(2);
    status.parked_keys = count(3);
    status.delayed = count(4);
    status.next_due_in = time(5);
    if (count(7) > 0)
        status.owner =
            outbox::LaneOwner{std::string{rows->text(0, 6)}, count(7), time(8).value_or(std::chrono::milliseconds{0})};
    status.schema_version = rows->int4(0, 9);
    status.awaiting = count(10);
    status.awaiting_parked = count(11);
    return status;
}

std::string Store::describe() const { return "PostgreSQL outbox, lane 0, at " + peer_of(url_); }

}  // namespace hufu::postgres
